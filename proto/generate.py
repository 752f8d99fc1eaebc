"""Generates and judges everything that is made from the contract in `proto/**/*.proto`.

`proto/gen` holds, for each file, Python messages with types, for each file with services stubs with
types, and `exchange.binpb`, the descriptor image that the gateway's transcoder loads (imports
included, comments left out). It is an import root and never edited. `gateway/documents` has the
documents of the API, made of the image with its comments.

`--check` proves three things without touching the tree: the generated files are what the contract
gives, `buf lint` is clean, and `buf breaking` finds nothing that breaks a client of the last
release. Both work on an image, since `buf` cannot fetch the google imports offline.

`proto/released.binpb` is the image of the last release. `--release` renews it; that is a step of
releasing and of nothing else, because from then on a break against the older one goes unseen.
Before the first release it is renewed freely.
"""

import argparse
import filecmp
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import google.api.annotations_pb2
import grpc_tools
from grpc_tools import protoc

from gateway.documents import documents

PROTO = Path(__file__).resolve().parent
GENERATED = PROTO / "gen"
RELEASED = PROTO / "released.binpb"
DOCUMENTS = PROTO.parent / "gateway" / "documents"
PROGRAMS = Path(sys.prefix) / "bin"
IMPORT_ROOTS = (
    PROTO,
    Path(grpc_tools.__file__).parent / "_proto",
    Path(google.api.annotations_pb2.__file__).parents[2],
)
SERVICE = re.compile(r"^service\s", re.MULTILINE)


def contract() -> list[Path]:
    """The files of the contract, sorted so that the image does not depend on the file system."""
    return sorted(path for path in PROTO.rglob("*.proto") if GENERATED not in path.parents)


def run_protoc(paths: list[Path], *options: str) -> None:
    """Run the compiler over `paths`; it prints what is wrong with them itself."""
    includes = [f"-I{root}" for root in IMPORT_ROOTS]
    names = [path.relative_to(PROTO).as_posix() for path in paths]
    if protoc.main(["protoc", *includes, *options, *names]) != 0:
        raise SystemExit("proto: the contract does not compile; see the lines above")


def generate(directory: Path) -> None:
    """Write everything generated into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = contract()
    run_protoc(
        paths,
        f"--python_out={directory}",
        f"--pyi_out={directory}",
        "--include_imports",
        f"--descriptor_set_out={directory / 'exchange.binpb'}",
    )
    run_protoc(
        [path for path in paths if SERVICE.search(path.read_text(encoding="utf-8"))],
        f"--plugin=protoc-gen-mypy_grpc={PROGRAMS / 'protoc-gen-mypy_grpc'}",
        "--mypy_grpc_opt=quiet",
        f"--grpc_python_out={directory}",
        f"--mypy_grpc_out={directory}",
    )


def write_image(path: Path) -> None:
    """Write the image that `buf` judges: comments and positions included."""
    run_protoc(
        contract(), "--include_imports", "--include_source_info", f"--descriptor_set_out={path}"
    )


def files_below(directory: Path) -> set[Path]:
    return {
        path.relative_to(directory)
        for path in directory.rglob("*")
        if path.is_file() and path.suffix in {".py", ".pyi", ".binpb"}
    }


def differences(fresh: Path) -> list[str]:
    """Names of generated files that the tree lacks, has too many of, or has with other content."""
    expected, present = files_below(fresh), files_below(GENERATED)
    changed = {
        name
        for name in expected & present
        if not filecmp.cmp(fresh / name, GENERATED / name, shallow=False)
    }
    return sorted(str(name) for name in changed | (expected ^ present))


def stale_documents(image: Path) -> dict[str, str]:
    """What the documents of the API have to say, of those that say something else."""
    return {
        name: text
        for name, text in documents(image.read_bytes()).items()
        if not (DOCUMENTS / name).exists() or (DOCUMENTS / name).read_text(encoding="utf-8") != text
    }


def renew(scratch: Path) -> None:
    """Bring `proto/gen` and the documents to what the contract gives; files that are already right
    stay untouched."""
    write_image(scratch / "contract.binpb")
    for name, text in stale_documents(scratch / "contract.binpb").items():
        (DOCUMENTS / name).write_text(text, encoding="utf-8")
    fresh = scratch / "gen"
    generate(fresh)
    for name in differences(fresh):
        if (fresh / name).exists():
            (GENERATED / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fresh / name, GENERATED / name)
        else:
            (GENERATED / name).unlink()


def check(scratch: Path) -> None:
    """End with the first of the three that does not hold."""
    generate(scratch / "gen")
    if stale := differences(scratch / "gen"):
        raise SystemExit(f"proto/gen is not current, run make generate: {', '.join(stale)}")
    image = scratch / "contract.binpb"
    write_image(image)
    if old := stale_documents(image):
        names = ", ".join(old)
        raise SystemExit(f"gateway/documents is not current, run make generate: {names}")
    judge("lint", image)
    judge("breaking", image, "--against", RELEASED)


def judge(*command: str | Path) -> None:
    """Run one of buf's commands with the configuration at the top of the tree."""
    if subprocess.run([PROGRAMS / "buf", *command], cwd=PROTO.parent, check=False).returncode:
        raise SystemExit(f"proto: buf {command[0]} refuses the contract; see the lines above")


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate Python and images from the contract.")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--check", action="store_true", help="judge, change nothing")
    chosen.add_argument("--release", action="store_true", help="renew proto/released.binpb")
    options = parser.parse_args()
    if options.release:
        write_image(RELEASED)
    elif options.check:
        with tempfile.TemporaryDirectory() as scratch:
            check(Path(scratch))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            renew(Path(scratch))


if __name__ == "__main__":
    main()
