//! Are the versions there that objects need of each other (LSB Core, "Symbol Versioning")?

use alloc::format;

use crate::error::Error;
use crate::host::Event;
use crate::linker::Linker;
use crate::load::Load;
use crate::observer::{Step, tell};
use crate::state::State;
use crate::text::Text;

impl Linker<'_> {
    /// Checks the versions that added objects need. `dlopen` fails at the first that is missing; at start-up the host
    /// is given a line for each but the last, and for each that may be missing, as `ld.so` prints them.
    pub(crate) fn check_versions(&self, state: &State, load: &Load) -> Result<(), Error> {
        // SAFETY: `program_name` gives a C string that stays.
        let program = unsafe { crate::stack::c_bytes(self.loaded().program_name()) };
        let warn = |line: &str| self.host().trace(&Event::Warning(line));
        let mut missing: Option<Error> = None;
        for &key in &load.added {
            for (wanting, needed, provider) in state.needed_versions(key) {
                let step = Step::CheckingVersion {
                    version: needed.name,
                    file: provider.label(),
                    by: wanting.label(),
                };
                tell(self.host(), &step);
                let versions = provider.versions();
                if versions.defines(needed.name) {
                    continue;
                }
                if needed.weak || !versions.has_definitions() {
                    if load.initial {
                        let version = Text(needed.name);
                        let what = if versions.has_definitions() {
                            format!("weak version `{version}' not found")
                        } else {
                            "no version information available".into()
                        };
                        let (object, wanted_by) = (Text(provider.shown()), Text(wanting.shown()));
                        let program = Text(program);
                        warn(&format!(
                            "{program}: {object}: {what} (required by {wanted_by})"
                        ));
                    }
                    continue;
                }
                let error = Error::VersionNotFound {
                    object: provider.shown().to_vec(),
                    version: needed.name.to_vec(),
                    wanted_by: wanting.shown().to_vec(),
                };
                if !load.initial {
                    return Err(error);
                }
                if let Some(earlier) = missing.replace(error) {
                    warn(&earlier.at_startup(program).0);
                }
            }
        }
        missing.map_or(Ok(()), Err)
    }
}
