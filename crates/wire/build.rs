//! Generates the messages and services of `proto/` with compilers that are crates themselves.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    let files = ["gate/v1/peer.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={root}/{file}");
    }
    let descriptors = protox::compile(files, [root])?;
    tonic_prost_build::configure()
        // Commands, entries and chunks are not copied out of what was received.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
