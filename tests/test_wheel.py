"""The wheel, installed into a new environment, runs a stage outside of the checkout."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.support.launching import SMALL, environment, succeeded

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    succeeded(subprocess.run(build, capture_output=True, text=True, check=False))
    (path_of_wheel,) = folder.glob("*.whl")
    return path_of_wheel


def test_the_wheel_holds_the_yaml_files_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        str(path.relative_to(ROOT))
        for package in ("simsurrogate", "pipeline", "solvers", "surrogates", "configs", "slurm")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".yaml", ".j2", ".sbatch")
    }
    assert sources <= names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


def test_the_console_command_of_the_wheel_ignores_folders_of_the_user(wheel: Path, tmp_path: Path) -> None:
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "environment")], check=True)
    # `make demo` installs all dependencies; here those of this environment serve.
    (site_packages,) = (tmp_path / "environment").glob("lib/*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)]
    succeeded(subprocess.run(install, capture_output=True, text=True, check=False))
    for name in ("solvers", "surrogates", "configs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('a folder of the user')")
    command = [str(python.parent / "simsurrogate"), "generate", *SMALL, "run=here"]
    mpirun = [str(Path(sys.executable).parent / "mpirun"), "--oversubscribe", "-n", "2", *command]
    result = subprocess.run(
        mpirun,
        cwd=tmp_path,
        env=environment(PYTHONPATH=""),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    succeeded(result)
    assert (tmp_path / "here" / "dataset" / "manifest.json").exists()
