"""Networks: specifications of plain fields that build two pure functions."""

from score_mia.networks.captioned import Captioned
from score_mia.networks.ddpm import DDPMNet
from score_mia.networks.latent.dit import DiT
from score_mia.networks.latent.unet import TextUNet
from score_mia.networks.mlp import MLP
from score_mia.networks.ncsnpp import NCSNpp
from score_mia.networks.network import Network
from score_mia.networks.unet2d import UNet2D

NETWORKS = {
    "ddpm": DDPMNet,
    "ncsnpp": NCSNpp,
    "mlp": MLP,
    "captioned": Captioned,
    "text_unet": TextUNet,
    "unet2d": UNet2D,
    "dit": DiT,
}

__all__ = [
    "MLP",
    "NETWORKS",
    "Captioned",
    "DDPMNet",
    "DiT",
    "NCSNpp",
    "Network",
    "TextUNet",
    "UNet2D",
]
