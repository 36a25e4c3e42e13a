//! Builds the machine that a simulated run sees, with the C compiler that AWS-LC needs as well.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=shim/machine.c");
    println!("cargo::rerun-if-env-changed=CC");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let folder = std::env::var("OUT_DIR").expect("cargo sets it");
    let library = Path::new(&folder).join("machine.so");
    let status = Command::new(&compiler)
        .args([
            "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o",
        ])
        .args([&library, Path::new("shim/machine.c")])
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{compiler} does not build shim/machine.c"
    );
    println!("cargo::rustc-env=SIMULATED_MACHINE={}", library.display());
}
