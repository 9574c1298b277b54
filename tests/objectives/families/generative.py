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
    "context_encoder": Case(
        {"name": "context_encoder", "image_size": 16, "overlap": 2, "width": 6},
        (64,),
        frozenset({"loss", "loss_reconstruction", "loss_generator", "loss_discriminator"}),
        lowers=False,
    ),
    "bigan": Case(
        {"name": "bigan", "image_size": 16, "latent_dim": 5, "width": 6, "hidden_dim": 12},
        (32,),
        frozenset({"loss", "loss_generator", "loss_discriminator"}),
        lowers=False,
    ),
    **{
        name: Case(
            {"name": name, "image_size": 8, "depth": 1, "width": 6},
            (32, 8),
            frozenset({"loss", "bits_per_dim"}),
        )
        for name in ("pixel_cnn", "pixel_rnn")
    },
}
