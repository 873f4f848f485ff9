"""The Debian packages whose programs the tests run, most of them in a mount; printed when run as a script."""

DEBIAN_PACKAGES = (
    "attr",
    "fio",
    "git",
    "groff-base",
    "openssl",
    "restic",
    "rsync",
    "sqlite3",
    "systemd",
    "vim-tiny",
)

if __name__ == "__main__":
    print(*DEBIAN_PACKAGES)
