# Sourced by ./run and ./test: makes sure that the tools are there, and configures Bazel's output.
#
#   hatcheck_setup PURPOSE   PURPOSE is run or test; installs missing Debian packages
#   hatcheck_bazel ...       bazel, quiet when its output is not a terminal
#
# Nothing is installed on a system other than Debian 12: the list is printed and the exit code is 2.

HATCHECK_PACKAGES=(
  bazel-bootstrap bazel-platforms bazel-skylib bazel-rules-java bazel-rules-proto
  g++ python3 patch graphviz
  libabsl-dev libboost-dev libboost-context-dev relacy-dev
  libgtest-dev libgmock-dev libbenchmark-dev nlohmann-json3-dev
)
# The browser, in which the tests open pages, is about 100 MB to download, with what it needs.
HATCHECK_TEST_PACKAGES=(clang-format-14 chromium-headless-shell)
HATCHECK_CLANG_PACKAGES=(clang-14 clang libclang-rt-14-dev)

hatcheck_is_debian_12() {
  local description="${HATCHECK_OS_RELEASE:-/etc/os-release}"
  [[ -r "$description" ]] || return 1
  (
    . "$description"
    [[ "${ID:-}" == debian && "${VERSION_ID:-}" == 12 ]]
  )
}

hatcheck_missing_packages() {
  local package status
  for package in "$@"; do
    status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) || status=unknown
    [[ "$status" == "install ok installed" ]] || echo "$package"
  done
}

hatcheck_explain() {
  cat >&2 <<EOF
This program is built with the packages of Debian 12 (bookworm); this system is another one.
On Debian 12 this would run:

  apt-get install $*

Here, install the counterparts by hand:
  Bazel 4.2.3 with bazel-platforms, bazel-skylib, rules_java and rules_proto under /usr/share/bazel
  g++ 12, python3, patch, Graphviz, clang-format 14
  (and clang 14 with its runtime for --config=clang)
  Abseil 20220623, Boost 1.74 (headers and context), Relacy, GoogleTest 1.12, Google Benchmark 1.7,
  nlohmann-json 3.11; for ./test Chromium's headless shell
or use a Debian 12 container: docker run -it -v "\$PWD:/hatcheck" -w /hatcheck debian:12
EOF
}

hatcheck_setup() {
  local packages=("${HATCHECK_PACKAGES[@]}") missing as_root=()
  case "$1" in
    run) ;;
    test) packages+=("${HATCHECK_TEST_PACKAGES[@]}") ;;
    clang) packages+=("${HATCHECK_TEST_PACKAGES[@]}" "${HATCHECK_CLANG_PACKAGES[@]}") ;;
  esac
  if ! hatcheck_is_debian_12; then
    hatcheck_explain "${packages[@]}"
    exit 2
  fi
  mapfile -t missing < <(hatcheck_missing_packages "${packages[@]}")
  if [[ ${#missing[@]} -gt 0 ]]; then
    if [[ "$(id -u)" -ne 0 ]]; then
      if ! command -v sudo >/dev/null; then
        echo "Missing packages, and neither root nor sudo to install them. As root, run:" >&2
        echo "  apt-get update && apt-get install ${missing[*]}" >&2
        exit 2
      fi
      as_root=(sudo)
    fi
    echo "Installing: ${missing[*]}"
    if ! { "${as_root[@]}" apt-get update -q </dev/null &&
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null; }; then
      echo "Installing failed. As root, run:" >&2
      echo "  apt-get update && apt-get install ${missing[*]}" >&2
      exit 2
    fi
  fi
  if ! command -v bazel >/dev/null; then
    echo "bazel is not in PATH, though the package bazel-bootstrap is installed." >&2
    exit 2
  fi
}

# Usage: hatcheck_bazel COMMAND ARGUMENTS...
hatcheck_bazel() {
  local command="$1" quiet=()
  shift
  if [[ ! -t 1 || ! -t 2 ]]; then
    quiet=(--noshow_progress --color=no --curses=no)
  fi
  # HATCHECK_BAZEL_STARTUP: startup options of one machine, for example --output_base=DIR.
  # shellcheck disable=SC2086
  bazel ${HATCHECK_BAZEL_STARTUP:-} "$command" "${quiet[@]}" "$@"
}
