# SPDX-License-Identifier: MIT
# Chroots of Debian's suites; to be sourced by a bash script that has set -eu and `top', the checkout,
# and that sets `suite'.  Needs root and what `tools/packages deb' lists.
#
# The tarballs of the chroots are kept in $AFN_CHROOTS, or else below ~/.cache; packages come from
# $AFN_MIRROR, or else from where this machine has its own.
# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154 # what is in single quotes is for shells in the chroots; see above
chroots=${AFN_CHROOTS:-${XDG_CACHE_HOME:-$HOME/.cache}/aiofastnet}
profiles=''

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

need_programs() {
    local program
    ((EUID == 0)) || fail "run this as root: it makes chroots"
    for program in mmdebstrap unshare ip git; do
        command -v "$program" >/dev/null || fail "$program is missing: tools/packages --install deb"
    done
}

# The name that the archive has for what this machine runs.
own_suite() {
    local name
    name=$(sed -n 's/^ID=debian$/yes/p' /etc/os-release)
    [[ -n $name ]] || fail "this machine does not run Debian"
    name=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    case $(cat /etc/debian_version) in
        */sid) name=sid ;;
    esac
    echo "$name"
}

# Where this machine's own packages come from: the first archive that is not for security only.
find_mirror() {
    local files=(/etc/apt/sources.list.d/debian.sources /etc/apt/sources.list
        /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list)
    if [[ -n ${AFN_MIRROR-} ]]; then
        echo "$AFN_MIRROR"
        return
    fi
    cat "${files[@]}" 2>/dev/null |
        sed -n -e 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' \
            -e 's/^deb \(\[[^]]*\] *\)\{0,1\}\([^[:space:]]*\).*/\2/p' |
        sed -n '/debian\/*$/{p;q}'
}

# The tarball of a chroot, made when it is not there yet.
tarball() { # VARIANT
    local file=$chroots/$suite-$1.tar mirror
    if [[ ! -e $file ]]; then
        mirror=$(find_mirror)
        [[ -n $mirror ]] || fail "no mirror in the apt sources of this machine: set AFN_MIRROR"
        mkdir -p "$chroots"
        # A mirror may be a snapshot of a day in the past.
        # No chroot is worth waiting for the disk.
        mmdebstrap --quiet --variant="$1" --format=tar --dpkgopt=force-unsafe-io \
            --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$file.$$" "$mirror" >&2
        mv "$file.$$" "$file"
    fi
    echo "$file"
}

unpack() { # VARIANT ROOT
    local file
    file=$(tarball "$1")
    mkdir "$2"
    tar -C "$2" -xf "$file" --numeric-owner
    printf '%s\n' '127.0.0.1 localhost' '::1 localhost ip6-localhost' >"$2/etc/hosts"
    # Absent where the machine resolves names in another way.
    cp /etc/resolv.conf "$2/etc/resolv.conf" 2>/dev/null || :
    enter "$2" apt-get -q -y update
    enter "$2" apt-get -q -y dist-upgrade
}

# Runs a command in a chroot, in namespaces of its own: no mount and no process stays behind.
enter() { # ROOT COMMAND...
    enter_with '' "$@"
}

# The same without any network but the loopback.
enter_offline() { # ROOT COMMAND...
    enter_with --net "$@"
}

enter_with() { # OPTION-OF-UNSHARE ROOT COMMAND...
    # shellcheck disable=SC2086 # the option may be empty
    unshare $1 --mount --pid --ipc --fork --kill-child sh -e -c '
        root=$1
        shift
        ip link set lo up
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount --bind /sys "$root/sys"
        cd /
        exec chroot "$root" env -i "$@"' sh "$2" HOME=/root LC_ALL=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
        DEBIAN_FRONTEND=noninteractive DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS-}" \
        DEB_BUILD_PROFILES="$profiles" ${http_proxy:+http_proxy="$http_proxy"} "${@:3}" </dev/null
}

as_builder() { # ROOT COMMAND...
    enter_offline "$1" runuser -u builder -- "${@:2}"
}

# What is, or will be, in the repository.
copy_checkout() { # DIRECTORY
    mkdir -p "$1"
    (cd "$top" && git -c safe.directory='*' ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' file; do
            [[ ! -e $file ]] || printf '%s\0' "$file"
        done | tar -c --mode=go=rX --null -T -) |
        tar -C "$1" -x --no-same-owner
}

# A chroot with this checkout in /src/aiofastnet and what it needs to be built.
make_build_root() { # ROOT
    unpack buildd "$1"
    enter "$1" useradd --create-home builder
    copy_checkout "$1/src/aiofastnet"
    enter "$1" sh -c 'cd /src/aiofastnet && apt-get -q -y build-dep ./'
    enter "$1" chown -R builder: /src
}
