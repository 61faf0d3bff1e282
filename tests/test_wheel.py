"""The wheel: its files, and a stage in a new environment outside the checkout."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.support.launching import SMALL_DATASET, environment, require_success

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build_command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(ROOT),
    ]
    require_success(subprocess.run(build_command, capture_output=True, text=True, check=False))
    (wheel_path,) = folder.glob("*.whl")
    return wheel_path


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
    # The new environment uses the dependencies of this environment. `make demo` installs all dependencies.
    (site_packages,) = (tmp_path / "environment").glob("lib/*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    install_command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)]
    require_success(subprocess.run(install_command, capture_output=True, text=True, check=False))
    for name in ("solvers", "surrogates", "configs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('a folder of the user')")
    command = [str(python.parent / "simsurrogate"), "generate", *SMALL_DATASET, "run=here"]
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
    require_success(result)
    assert (tmp_path / "here" / "dataset" / "manifest.json").exists()
