"""Small networks of diffusers and transformers, and a process of a peer's Python."""

from __future__ import annotations

import subprocess

DDPM = {
    **{"act_fn": "silu", "attention_head_dim": None, "downsample_padding": 0},
    **{"flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-6},
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", *["DownBlock2D"] * 2],
    "up_block_types": [*["UpBlock2D"] * 2, "AttnUpBlock2D", "UpBlock2D"],
    **{"sample_size": 32, "in_channels": 3, "out_channels": 3},
    "block_out_channels": [32, 64, 64, 64],
}
SD = {
    **{"sample_size": 32, "in_channels": 4, "out_channels": 4, "layers_per_block": 1},
    **{"block_out_channels": [64, 128, 128], "norm_num_groups": 32},
    "down_block_types": [*["CrossAttnDownBlock2D"] * 2, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 2],
    **{"cross_attention_dim": 128, "attention_head_dim": 2},
}
TEXT = {
    **{"vocab_size": 1000, "hidden_size": 128, "intermediate_size": 512},
    **{"num_hidden_layers": 6, "num_attention_heads": 4},
    **{"max_position_embeddings": 77, "bos_token_id": 0, "eos_token_id": 2},
}
VAE = {
    **{"in_channels": 3, "out_channels": 3, "block_out_channels": [32, 64, 128]},
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    **{"latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 32},
}
DIT = {
    **{"num_attention_heads": 4, "attention_head_dim": 48, "in_channels": 4},
    **{"out_channels": 4, "num_layers": 6, "sample_size": 32, "patch_size": 2},
    **{"num_embeds_ada_norm": 10, "norm_elementwise_affine": False},
}
CLIP = {
    **{"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 6},
    **{"num_attention_heads": 6, "image_size": 112, "patch_size": 14},
}


class Theirs:
    """The peer's process."""

    def __init__(self, python: str, program: str):
        command = [python, "-c", program]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, line: str) -> str:
        """The answer to one line; no answer is waited for after "stop"."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() if line != "stop" else ""
