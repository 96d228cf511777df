"""What an administrator does in AWS before the site can work there, and what the site must be allowed: shown with the account."""

from __future__ import annotations

PERMISSIONS: tuple[str, ...] = (
    "ec2:AllocateAddress", "ec2:AssociateAddress", "ec2:AttachVolume", "ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress",
    "ec2:CreateNetworkInterface", "ec2:CreateSecurityGroup", "ec2:CreateSnapshot", "ec2:CreateTags", "ec2:CreateVolume",
    "ec2:DeleteNetworkInterface", "ec2:DeleteSecurityGroup", "ec2:DeleteSnapshot", "ec2:DeleteTags", "ec2:DeleteVolume",
    "ec2:DescribeAddresses", "ec2:DescribeAvailabilityZones", "ec2:DescribeImages", "ec2:DescribeInstances", "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups", "ec2:DescribeSnapshots", "ec2:DescribeSubnets", "ec2:DescribeVolumes",
    "ec2:DescribeVolumesModifications", "ec2:DescribeVpcs", "ec2:DetachVolume", "ec2:DisassociateAddress", "ec2:ModifyInstanceAttribute",
    "ec2:ModifyVolume", "ec2:ReleaseAddress", "ec2:RevokeSecurityGroupEgress", "ec2:RunInstances", "ec2:StartInstances",
    "ec2:StopInstances", "ec2:TerminateInstances", "iam:PassRole", "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt",
    "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo",
    "route53:ChangeResourceRecordSets", "route53:GetHostedZone", "route53:ListResourceRecordSets",
    "secretsmanager:DescribeSecret", "ssm:GetParameter", "sts:GetCallerIdentity",
)
"""Actions of the policy of the site's role or user."""

STEPS: tuple[str, ...] = (
    "Make a key: key management service, customer managed keys, create: symmetric, encrypt and decrypt, in the site's region; give it an alias.",
    "Let the site's role or user, and the role your instances run with, use it (key users).",
    "Make a policy of the actions listed below and attach it to the site's role or user.",
    "Give the site the key's id, ARN or alias: fleet cloud setup --cmk KEY; it is tried before it is saved.",
    "For keys kept as secrets: secret manager, store a new secret, other type, plaintext, paste the PEM, and note the secret's name.",
    "Allow secretsmanager:GetSecretValue on it to the role your instances run with, and set that role's profile as the template's runtime profile.",
)
