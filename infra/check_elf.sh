#!/usr/bin/env bash
# Looks at every ELF file that ships: check_elf.sh MACHINE PROFILE FOLDER
# It must be for MACHINE (x86_64 or aarch64) and must not need more of glibc and libstdc++ than `provided.al2023` has:
# glibc 2.34, GLIBCXX 3.4.29 (GCC 11). Only requirements that the loader enforces count; weak ones may be absent.
# Nothing that ships has the switch for planted faults, which tests compile in.
# Built with the profile `release` for the local AWS, which runs on this machine, a newer glibc is only a warning.
set -euo pipefail
machine=$1
profile=$2
folder=$3
glibc_floor=${GLIBC_FLOOR:-2.34}
glibcxx_floor=3.4.29

# highest PREFIX FILE: the newest PREFIX_x.y that FILE demands
highest() {
  readelf --wide --version-info "$2" 2>/dev/null |
    sed -n "s/.*Name: $1_\([0-9.]*\) *Flags: none.*/\1/p" | sort -uV | tail -n 1
}
newer() { [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | tail -n 1)" = "$1" ]; }

found=0
bad=0
while IFS= read -r -d '' file; do
  [ "$(head -c 4 "$file" | tail -c 3)" = ELF ] || continue
  found=$((found + 1))
  name=${file#"$folder"/}
  case $(readelf --file-header "$file" | sed -n 's/ *Machine: *//p') in
    *X86-64*) is=x86_64 ;;
    AArch64) is=aarch64 ;;
    *) is=unknown ;;
  esac
  glibc=$(highest GLIBC "$file")
  glibcxx=$(highest GLIBCXX "$file")
  echo "elf: $name, $is, needs glibc ${glibc:-none}${glibcxx:+, GLIBCXX $glibcxx}"
  if [ "$is" != "$machine" ]; then
    echo "error: \`$name\` is for $is, and this zip is for $machine" >&2
    bad=1
  fi
  if { [ -n "$glibc" ] && newer "$glibc" "$glibc_floor"; } || { [ -n "$glibcxx" ] && newer "$glibcxx" "$glibcxx_floor"; }; then
    if [ "$profile" = release ]; then
      echo "warning: \`$name\` runs on this machine but not on Lambda (glibc $glibc_floor, GLIBCXX $glibcxx_floor at most)" >&2
    else
      echo "error: \`$name\` needs a newer glibc or libstdc++ than Lambda has (glibc $glibc_floor, GLIBCXX $glibcxx_floor at most)" >&2
      echo '       build on Debian 12 or an equally old distribution, or with cargo-zigbuild: ZIG=1 make deploy' >&2
      bad=1
    fi
  fi
  if [ "$profile" != release ] && grep -qaF acknowledge-before-send "$file"; then
    echo "error: \`$name\` can be told to misbehave: it was compiled with the tests' feature planted-faults" >&2
    echo '       build it by itself, as `sam build` and `make deploy` do' >&2
    bad=1
  fi
done < <(find "$folder" -type f -print0)

if [ "$found" = 0 ]; then
  echo "error: no ELF file in \`$folder\`" >&2
  exit 1
fi
exit "$bad"
