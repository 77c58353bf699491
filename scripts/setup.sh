# What the other scripts have in common: what a build needs, and how it gets here. Sourced with
# $root set to the top of the source tree.
#
# Needed: cargo of the version in Cargo.toml, a C linker, pkg-config, and the development files of
# hwloc 2 with whatever its pkg-config file asks the linker for (libudev, on most distributions).

say() {
    echo "$(basename -- "$0"): $*" >&2
}

stop() {
    say "$@"
    exit 3
}

# 1.96.0-nightly is at least 1.95: the minor version decides.
need_cargo() {
    if ! command -v cargo >/dev/null; then
        PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
        command -v cargo >/dev/null || stop "there is no cargo here; https://rustup.rs installs it"
    fi
    wanted=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' "$root/Cargo.toml")
    found=$(cargo --version | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p')
    [ "${found:-0}" -ge "$wanted" ] ||
        stop "cargo 1.${found:-?} is too old, 1.$wanted is needed; 'rustup update stable' brings it"
}

# Whether a program can be linked with hwloc the way the build will do it.
libraries_are_here() {
    flags=$(pkg-config --static --libs 'hwloc >= 2.4' 'hwloc < 3' 2>/dev/null) || return 1
    # shellcheck disable=SC2086 # flags are words
    echo 'int main(void) { return 0; }' | cc -x c - -o /dev/null $flags 2>/dev/null
}

# The command that installs what is missing, for this distribution's package manager.
install_command() {
    if command -v apt-get >/dev/null; then
        echo "apt-get update -q && apt-get install -qy --no-install-recommends gcc libc6-dev pkg-config libhwloc-dev libudev-dev"
    elif command -v dnf >/dev/null; then
        echo "dnf install -qy gcc pkgconf-pkg-config 'pkgconfig(hwloc)' 'pkgconfig(libudev)'"
    elif command -v zypper >/dev/null; then
        echo "zypper --non-interactive install gcc pkg-config 'pkgconfig(hwloc)' 'pkgconfig(libudev)'"
    elif command -v pacman >/dev/null; then
        echo "pacman -S --needed --noconfirm gcc pkgconf hwloc systemd-libs"
    elif command -v apk >/dev/null; then
        echo "apk add gcc musl-dev pkgconf hwloc-dev eudev-dev"
    fi
}

need_libraries() {
    libraries_are_here && return
    command=$(install_command)
    [ -n "$command" ] ||
        stop "a C compiler, pkg-config and the development files of hwloc (2.4 or a later 2.x) and libudev are needed, and no package manager known here would install them"
    if [ "$(id -u)" = 0 ]; then
        as=
    elif sudo -n true 2>/dev/null; then
        as="sudo -n DEBIAN_FRONTEND=noninteractive"
    else
        stop "system packages are missing; install them as root, then run this again: $command"
    fi
    say "installing what the build needs: $command"
    DEBIAN_FRONTEND=noninteractive $as sh -c "$command" >&2 || stop "this failed: $command"
    libraries_are_here ||
        stop "hwloc still cannot be linked (2.4 or a later 2.x is needed, with pkg-config); 'cc -lhwloc -ludev' must work"
}

# Components of the Rust toolchain that a check needs, installed if rustup is there.
need_components() {
    for component in "$@"; do
        case $component in
        rustfmt) cargo fmt --version >/dev/null 2>&1 && continue ;;
        clippy) cargo clippy --version >/dev/null 2>&1 && continue ;;
        esac
        command -v rustup >/dev/null ||
            stop "the Rust component $component is missing and there is no rustup; install the distribution's package of it"
        rustup component add "$component" >&2 ||
            stop "rustup could not add $component; run: rustup component add $component"
    done
}
