"""Packaging of jaxsed: versions are lower bounds that were run, upper bounds only where a newer one breaks."""

import re
from pathlib import Path

from setuptools import find_packages, setup

VERSION = "0.1.0"
URL = "https://github.com/OWNER/jaxsed"  # docs/releasing.md

REQUIREMENTS = [
    "jax>=0.8",  # 0.8.0 moves pmap to maintenance; one jit over a mesh is used here
    "flax>=0.12",  # Linen
    "optax>=0.2.4",
    "orbax-checkpoint>=0.11.40",
    "grain>=0.2.16",  # earlier versions do not restart prefetching after a restore
    # There is no build for Windows; detecting does without it.
    "array-record>=0.8; sys_platform != 'win32'",
    "ml_collections>=1.0",
    "absl-py>=2.0",
    "numpy>=2.0",
    "soundfile>=0.12.1",  # first wheels whose libsndfile reads mp3
    "soxr>=0.3.2",
    "pandas>=2.0",
    "safetensors>=0.4.3",
    "scipy>=1.11",
    "tqdm>=4.66",
]

EXTRAS = {
    "tpu": ["jax[tpu]>=0.8"],
    "cuda": ["jax[cuda13]>=0.8"],  # for drivers from 580 on
    "logging": ["tensorboardX>=2.6"],
    "hdf5": ["h5py>=3.11"],  # the first that goes with numpy 2
    "parquet": ["pyarrow>=17"],  # the first that goes with numpy 2
    "plan": ["libtpu>=0.0.42"],  # the TPU's compiler, for `jaxsed plan`
    "export": ["flatbuffers>=24"],  # jax.export serialises with it
    "report": ["matplotlib>=3.8"],
    "docs": [
        "mkdocs>=1.6,<2",  # 2 is another program
        "mkdocs-material>=9.6,<10",
        "mkdocstrings[python]>=1.0,<2",
        "ruff>=0.6",  # lays signatures out
    ],
    "notebooks": [  # what runs them; to read them in a browser takes jupyterlab as well
        "nbclient>=0.11",
        "nbformat>=5.11",
        "ipykernel>=7.4",
        "matplotlib>=3.8",
    ],
    "dev": [
        "pytest>=8",
        "pytest-xdist>=3.5",
        "hypothesis>=6.100",
        "ruff>=0.6",
        "h5py>=3.11",
        "pyarrow>=17",
        "matplotlib>=3.8",
        "nbclient>=0.11",
        "nbformat>=5.11",
        "ipykernel>=7.4",
        "tensorboardX>=2.6",
        "scikit-learn>=1.4",
        "librosa>=0.10,<2",  # what Slaney's mel banks are compared with
        # What PSDS and pAUROC are compared with.
        "sed_scores_eval>=0.0.4",
        # sed_scores_eval -> sed_eval -> dcase_util imports pkg_resources, which
        # setuptools 82 removed and which uv's environments never had.
        "setuptools<82",
    ],
}

README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")

setup(
    name="jaxsed",
    version=VERSION,
    description="Pre-train, convert, fine-tune, evaluate and run audio spectrogram transformers for sound event detection, in JAX.",
    # Where the package is shown, the files that README links to are not beside it.
    long_description=re.sub(r"\]\((?!https?:)", f"]({URL}/blob/v{VERSION}/", README),
    long_description_content_type="text/markdown",
    url=URL,
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["jaxsed", "jaxsed.*", "convert"]),
    include_package_data=True,
    package_data={"jaxsed": ["labels/*.json", "labels/*.csv", "data/recordings/*"]},
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["jaxsed=jaxsed.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
