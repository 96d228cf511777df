"""Every check of spec 5.3 on material that openssl made: each refusal names its block and says what to do."""

from __future__ import annotations

import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

from fleet_tui.backend.certificates import Verdict
from fleet_tui.backend.certificates.material import CERTIFICATE_FIELD, KEY_FIELD, covers, describe, judge, key_id, key_id_of_certificate
from tests.backend.certificates.authority import Authority, openssl

SANS = "DNS:web.example,DNS:*.shop.example,IP:10.0.0.7"


def now() -> datetime:
    return datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "ca")


@pytest.fixture(scope="module")
def web_key(ca: Authority) -> Path:
    return ca.key("web")


@pytest.fixture(scope="module")
def web(ca: Authority, web_key: Path) -> Path:
    return ca.issue("web", web_key, "web.example", sans=SANS)


def refusals(verdict: Verdict, field: str) -> str:
    """The one refusal there is, which is the field's."""
    assert [p.field for p in verdict.refusals] == [field], verdict
    assert verdict.certificate_pem == "" and verdict.private_key_pem == ""
    return verdict.refusals[0].message


def warnings(verdict: Verdict) -> list[str]:
    assert not verdict.refusals, verdict
    return [p.message for p in verdict.warnings]


def certificate_refused(text: str) -> str:
    return refusals(judge(text, now()), CERTIFICATE_FIELD)


def latin(path: Path) -> str:
    """As a file that is no text arrives."""
    return path.read_bytes().decode("latin-1")


# --- what is taken ---------------------------------------------------------------------------------------------------


def test_a_good_pair_is_taken_and_told(ca: Authority, web: Path, web_key: Path) -> None:
    verdict = judge(ca.chain(web), now(), private_key_pem=web_key.read_text(), names=["web.example", "a.shop.example", "10.0.0.7"])
    assert warnings(verdict) == []
    facts = verdict.facts
    assert facts is not None and (facts.subject, facts.issuer, facts.key, facts.signature) == ("web.example", "Example Intermediate", "EC P-256", "sha256")
    assert facts.sans == ("web.example", "*.shop.example", "10.0.0.7") and not facts.is_self_signed
    told = openssl("x509", "-in", web, "-noout", "-fingerprint", "-sha256").decode().strip().partition("=")[2]
    assert facts.fingerprint == told
    assert [link.subject for link in facts.chain] == ["Example Intermediate"]
    assert verdict.certificate_pem.split() == ca.chain(web).split()
    assert describe(verdict.certificate_pem) == facts
    assert key_id(verdict.private_key_pem) == key_id_of_certificate(verdict.certificate_pem)


@pytest.mark.parametrize("form", ["pkcs8", "pkcs1", "ec", "ec-with-parameters"])
def test_every_form_of_a_plain_key_is_taken(ca: Authority, tmp_path: Path, form: str) -> None:
    key = ca.rsa(f"form-{form}") if form.startswith("pkcs") else ca.key(f"form-{form}")
    certificate = ca.issue(f"form-{form}", key, "web.example", sans=SANS)
    text = key.read_text()
    if form != "pkcs8":
        openssl("pkey", "-in", key, "-traditional", "-out", tmp_path / "old.key")
        text = (tmp_path / "old.key").read_text()
    if form == "ec-with-parameters":
        text = openssl("ecparam", "-name", "prime256v1").decode() + text
    assert {"pkcs8": "BEGIN PRIVATE KEY", "pkcs1": "BEGIN RSA PRIVATE KEY"}.get(form, "BEGIN EC PRIVATE KEY") in text
    verdict = judge(ca.chain(certificate), now(), private_key_pem=text)
    assert warnings(verdict) == []
    assert openssl("pkey", "-pubout", data=verdict.private_key_pem.encode()) == openssl("x509", "-in", certificate, "-noout", "-pubkey")


@pytest.mark.parametrize("spoil", [
    lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("\n", "\r"), lambda text: "\ufeff" + text, lambda text: text.replace("\n", " "),
    lambda text: "\n\n  " + text.replace("\n", "  \n   ") + "\n\n",
], ids=["crlf", "cr", "byte-order-mark", "one-line", "indented"])
def test_what_editors_and_clipboards_do_is_mended(ca: Authority, web: Path, web_key: Path, spoil) -> None:
    verdict = judge(spoil(ca.chain(web)), now(), private_key_pem=spoil(web_key.read_text()))
    assert warnings(verdict) == [] and verdict.certificate_pem.split() == ca.chain(web).split()


def test_text_around_the_blocks_is_dropped_and_said(ca: Authority, web: Path) -> None:
    told = openssl("x509", "-in", web, "-text").decode() + "with kind regards\n" + ca.middle.read_text()
    verdict = judge(told, now())
    assert any("text around" in text for text in warnings(verdict)) and verdict.certificate_pem.split() == ca.chain(web).split()


def test_a_long_chain_is_taken(ca: Authority) -> None:
    """Four kilobytes and more, as RSA chains are."""
    signer, by = (ca.middle, ca.middle_key), ca.chain(ca.middle)
    key = ca.rsa("deep-0", 4096)
    deep = ca.issue("deep-0", key, "Deeper", by=signer, section="authority")
    leaf_key = ca.rsa("deep-1", 4096)
    leaf = ca.issue("deep-1", leaf_key, "web.example", by=(deep, key), sans=SANS)
    text = leaf.read_text() + deep.read_text() + by
    assert len(text) > 4096
    text = leaf.read_text() + deep.read_text() + ca.middle.read_text() + ca.root.read_text()
    verdict = judge(text, now(), private_key_pem=leaf_key.read_text())
    assert warnings(verdict) == [] and verdict.facts is not None and len(verdict.facts.chain) == 3


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_key_in_the_certificate_field(ca: Authority, web: Path, web_key: Path) -> None:
    said = certificate_refused(ca.chain(web) + web_key.read_text())
    assert "block 3 (PRIVATE KEY) is a private key" in said and "field of the key" in said
    assert web_key.read_text().split()[3][:20] not in repr(judge(web_key.read_text(), now()))


def test_der(web: Path, web_key: Path, tmp_path: Path) -> None:
    openssl("x509", "-in", web, "-outform", "DER", "-out", tmp_path / "web.der")
    openssl("pkey", "-in", web_key, "-outform", "DER", "-out", tmp_path / "key.der")
    assert "openssl x509 -inform DER" in certificate_refused(latin(tmp_path / "web.der"))
    assert "openssl pkey -inform DER" in refusals(judge(web.read_text(), now(), private_key_pem=latin(tmp_path / "key.der")), KEY_FIELD)


def test_pkcs12_as_it_is_and_as_base64(ca: Authority, web: Path, web_key: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "web.p12"
    openssl("pkcs12", "-export", "-in", web, "-inkey", web_key, "-certfile", ca.middle, "-passout", "pass:1234", "-out", bundle)
    for text in (latin(bundle), openssl("base64", "-in", bundle).decode()):
        assert "openssl pkcs12 -in FILE -nokeys" in certificate_refused(text)
        assert "openssl pkcs12 -in FILE -nocerts" in refusals(judge(web.read_text(), now(), private_key_pem=text), KEY_FIELD)


def test_the_commands_that_refusals_tell_do_it(ca: Authority, web: Path, web_key: Path, tmp_path: Path) -> None:
    """A person copies them, puts in the file, and what comes out is taken."""
    bundle = tmp_path / "web.p12"
    openssl("pkcs12", "-export", "-in", web, "-inkey", web_key, "-certfile", ca.middle, "-passout", "pass:", "-out", bundle)
    locked = tmp_path / "locked.key"
    openssl("pkey", "-in", web_key, "-aes256", "-passout", "pass:1234", "-out", locked)
    for source, is_key, more in ((bundle, False, " -passin pass:"), (bundle, True, " -passin pass:"), (locked, True, " -passin pass:1234")):
        verdict = judge(web.read_text(), now(), private_key_pem=latin(source)) if is_key else judge(latin(source), now())
        command = verdict.refusals[0].message.split("`")[1].replace("FILE", str(source)) + more
        subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=True, capture_output=True, timeout=30)
    verdict = judge((tmp_path / "certificate.pem").read_text(), now(), private_key_pem=(tmp_path / "key.pem").read_text())
    assert not verdict.refusals and verdict.certificate_pem.split() == ca.chain(web).split()


@pytest.mark.parametrize("form", ["pkcs8", "traditional"])
def test_a_key_with_a_passphrase(web: Path, web_key: Path, tmp_path: Path, form: str) -> None:
    more = ("-traditional",) if form == "traditional" else ()
    openssl("pkey", "-in", web_key, "-aes256", "-passout", "pass:1234", *more, "-out", tmp_path / "locked.key")
    text = (tmp_path / "locked.key").read_text()
    assert ("Proc-Type" in text) == (form == "traditional")
    said = refusals(judge(web.read_text(), now(), private_key_pem=text), KEY_FIELD)
    assert "passphrase" in said and "openssl pkey -in FILE" in said


def test_a_key_of_another_certificate(ca: Authority, web: Path) -> None:
    said = refusals(judge(ca.chain(web), now(), private_key_pem=ca.key("other").read_text()), KEY_FIELD)
    assert said.startswith("the private key does not belong to this certificate")


def test_wrong_order_tells_the_right_one(ca: Authority, web: Path) -> None:
    own, middle, root = web.read_text(), ca.middle.read_text(), ca.root.read_text()
    assert "put the blocks in the order 1, 3, 2" in certificate_refused(own + root + middle)
    assert "the server's own certificate comes first, which is block 2" in certificate_refused(middle + own)
    stranger = ca.issue("stranger", ca.key("stranger"), "stranger.example")
    assert "the certificate of its issuer is needed (Example Intermediate)" in certificate_refused(own + stranger.read_text())


def test_ended(ca: Authority) -> None:
    old = ca.issue("old", ca.key("old"), "web.example", sans=SANS, begins_in=-40, days=30)
    said = certificate_refused(ca.chain(old))
    assert "block 1 (web.example) ended on" in said and "renewed" in said


def test_an_ended_intermediate_is_named(ca: Authority) -> None:
    key = ca.key("gone")
    gone = ca.issue("gone", key, "Gone Authority", by=(ca.root, ca.root_key), section="authority", begins_in=-40, days=30)
    leaf = ca.issue("late", ca.key("late"), "web.example", sans=SANS, by=(gone, key))
    assert "block 2 (Gone Authority) ended on" in certificate_refused(leaf.read_text() + gone.read_text())


def test_not_yet_and_soon_are_warnings(ca: Authority) -> None:
    early = ca.issue("early", ca.key("early"), "web.example", sans=SANS, begins_in=3, days=90)
    assert any("valid only from" in text for text in warnings(judge(ca.chain(early), now())))
    short = ca.issue("short", ca.key("short"), "web.example", sans=SANS, days=10)
    assert any("ends in 8 days" in text or "ends in 9 days" in text for text in warnings(judge(ca.chain(short), now())))


def test_weak_rsa(ca: Authority) -> None:
    key = ca.rsa("weak", 1024)
    weak = ca.issue("weak", key, "web.example", sans=SANS)
    verdict = judge(ca.chain(weak), now(), private_key_pem=key.read_text())
    assert {(p.field, "1024 bits; 2048" in p.message) for p in verdict.refusals} == {(CERTIFICATE_FIELD, True), (KEY_FIELD, True)}


def test_sha1(ca: Authority) -> None:
    weak = ca.issue("sha1", ca.rsa("sha1"), "web.example", sans=SANS, digest="sha1")
    said = certificate_refused(ca.chain(weak))
    assert "signed with SHA-1" in said and "SHA-256" in said


def test_other_blocks_and_torn_ones(ca: Authority, web: Path, web_key: Path, tmp_path: Path) -> None:
    openssl("crl2pkcs7", "-nocrl", "-certfile", web, "-out", tmp_path / "web.p7b")
    for text, words in (
        ((tmp_path / "web.p7b").read_text(), "openssl pkcs7 -print_certs"),
        ((ca.folder / "web.csr").read_text(), "is a request"),
        (web.read_text()[:300], "has no line -----END CERTIFICATE-----"),
        (web.read_text().replace("-----BEGIN CERTIFICATE-----", "").replace("-----END CERTIFICATE-----", ""), "are missing"),
        (web.read_text().replace("M", "!", 5), "is not base64"),
        (web.read_text().replace("MII", "AAA", 1), "block 1 (CERTIFICATE) cannot be read"),
        (web.read_text()[:100] + "AAAA" + web.read_text()[104:] + ca.middle.read_text(), "does not sign block 1"),
        ("just words", "no PEM block"), ("", "a certificate is needed"), ("\x00\xff\xfe", "binary"), ("x" * 70_000, "70,000 characters"),
        (web.read_text() * 25, "25 blocks"),
    ):
        assert words in certificate_refused(text), words
    for text, words in (
        (web.read_text(), "is no private key"), ("", "a private key is needed"), (web_key.read_text() * 2, "there are 2 blocks"),
        (web_key.read_text().replace("\n", "\nAAAA", 2), "cannot be read"), ("x" * 17_000, "17,000 characters"),
    ):
        assert words in refusals(judge(web.read_text(), now(), private_key_pem=text), KEY_FIELD), words


def test_an_openssh_key(web: Path, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], check=True, timeout=30)
    assert "ssh-keygen -p -m PEM" in refusals(judge(web.read_text(), now(), private_key_pem=(tmp_path / "id").read_text()), KEY_FIELD)


def test_names_that_are_not_covered_are_warned_of(ca: Authority, web: Path) -> None:
    said = warnings(judge(ca.chain(web), now(), names=["web.example", "x.y.shop.example", "10.0.0.8", "shop.example"]))
    assert len(said) == 1 and "x.y.shop.example, 10.0.0.8, shop.example" in said[0]
    bare = ca.issue("bare", ca.key("bare"), "web.example")
    assert any("no subject alternative names" in text for text in warnings(judge(ca.chain(bare), now())))
    assert covers(["A.Example"], "a.example.") and not covers(["*.example"], "a.b.example")


def test_everything_wrong_is_said_at_once(ca: Authority, web_key: Path) -> None:
    old = ca.issue("both", ca.rsa("both", 1024), "web.example", sans=SANS, begins_in=-40, days=30)
    verdict = judge(ca.root.read_text() + old.read_text(), now(), private_key_pem=web_key.read_text())
    assert len(verdict.refusals) == 4, verdict


def test_a_hostile_subject_is_harmless(ca: Authority) -> None:
    bad = ca.issue("bad", ca.key("bad"), "evil\x1b[31m")
    facts = judge(ca.chain(bad), now()).facts
    assert facts is not None and "\x1b" not in facts.subject and "evil" in facts.subject


def test_no_key_is_quoted_by_any_refusal(ca: Authority, web: Path, web_key: Path) -> None:
    body = [line for line in web_key.read_text().splitlines() if "-----" not in line]
    for text in (web_key.read_text(), web_key.read_text() * 2, web_key.read_text()[:-30], "".join(body), web_key.read_text().replace("\n", "\nAAAA", 2)):
        for verdict in (judge(web.read_text(), now(), private_key_pem=text), judge(text, now()), judge(ca.chain(web), now(), private_key_pem=text)):
            assert not any(line[:24] in repr(verdict) for line in body)
