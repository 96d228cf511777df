"""Views of the cloud account, of certificates, of cloud images and of orphans, reached by name from every screen."""

from __future__ import annotations

from fleet_tui.screens.frame import FleetScreen


class CloudKeys(FleetScreen):
    """``:cloud``, ``:certificates``, ``:images``, ``:orphans``, and what is made new there."""

    def act_global_cloud(self) -> None:
        self.console.open("cloud", "cloud:aws")

    def act_global_certificates(self) -> None:
        self.console.open("certificates", "")

    def act_global_cloud_images(self) -> None:
        self.console.open("cloud_images", "")

    def act_global_orphans(self) -> None:
        self.console.open("orphans", "")

    def act_cloud_image_new(self) -> None:
        from fleet_tui.screens import cloud_forms

        cloud_forms.register_image(self)
