"""Autoencoders, adversarial and autoregressive models of images."""

from __future__ import annotations

from cases import Case

CASES = {
    **{
        f"denoising_autoencoder {noise} {reconstruction}": Case(
            {
                "name": "denoising_autoencoder",
                "noise": noise,
                "amount": 0.25,
                "reconstruction": reconstruction,
                "stride": 8,
                "width": 6,
            },
            (64,),
            frozenset({"loss", "squared_error"}),
        )
        for noise, reconstruction in (
            ("masking", "cross_entropy"),
            ("salt_pepper", "squared"),
            ("gaussian", "squared"),
        )
    },
    **{
        f"vae {likelihood}": Case(
            {"name": "vae", "likelihood": likelihood, "latent_dim": 5, "image_size": 16, "width": 6},
            (32,),
            frozenset({"loss", "loss_reconstruction", "loss_kl", "active_dims"}),
        )
        for likelihood in ("gaussian", "bernoulli")
    },
}
