//! placeholder
use anyhow::Result;
pub(crate) fn run(_: &crate::cli::RunOptions) -> Result<u8> {
    Ok(0)
}
