# To be sourced, in the clone: lets cargo build for aarch64-unknown-linux-gnu. Nothing to do where
# the installed toolchain has the target's standard library; otherwise unpacks Debian's compiler of
# that target below target/, which needs apt and changes nothing on the machine but apt's list of
# architectures, and points RUSTC at it.

if [ ! -d "$(rustc --print sysroot)/lib/rustlib/aarch64-unknown-linux-gnu/lib" ]; then
  cache=$PWD/target/rustc-web
  if [ ! -e "$cache/complete" ]; then
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
      echo "no standard library for aarch64. Get it with: rustup target add aarch64-unknown-linux-gnu" >&2
      exit 3
    fi
    rm -rf "$cache" && mkdir -p "$cache/debs"
    dpkg --add-architecture arm64
    apt-get update -qq
    # The names carry versions that move: ask what today's compiler depends on.
    depends() { apt-cache depends --no-recommends --no-suggests "$@" | sed -n 's/^ *Depends: //p'; }
    std=$(depends libstd-rust-web-dev | sed -n '/^libstd-rust-web-[0-9]/p' | head -1)
    llvm=$(depends "$std" rustc-web libstd-rust-web-dev | sed -n '/^libllvm[0-9]/p' | head -1)
    (cd "$cache/debs" && apt-get download -qq rustc-web "$std" libstd-rust-web-dev ${llvm:+"$llvm"} libstd-rust-web-dev:arm64)
    for deb in "$cache"/debs/*.deb; do dpkg -x "$deb" "$cache"; done
    rm -rf "$cache/debs"
    touch "$cache/complete"
  fi
  RUSTC=$(find "$cache" -name rustc -type f -perm -u+x | head -1)
  libraries=$(find "$cache" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
  export RUSTC LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
