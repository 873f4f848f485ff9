"""The Debian packages whose programs the tests run in a mount; printed when run as a script."""

DEBIAN_PACKAGES = ("attr", "fio", "git", "rsync", "sqlite3", "vim-tiny")

if __name__ == "__main__":
    print(*DEBIAN_PACKAGES)
