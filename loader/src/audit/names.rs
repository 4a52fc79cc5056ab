//! Who audits a program, by name.

use alloc::vec::Vec;

use crate::object::Object;

/// Returns the names that LD_AUDIT and a program's DT_AUDIT and DT_DEPAUDIT list, in this order, which is `ld.so`'s.
pub(crate) fn names(variable: &[u8], main: &Object) -> Vec<Vec<u8>> {
    let dynamic = main.dynamic();
    let tags = [dynamic.audit, dynamic.depaudit];
    let tags = tags.into_iter().flatten().filter_map(|at| main.string(at));
    let lists = core::iter::once(variable).chain(tags);
    lists.flat_map(listed).map(<[u8]>::to_vec).collect()
}

/// Returns the names in a list.
fn listed(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b':')
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_names_are_none() {
        let found: Vec<&[u8]> = listed(b"::./a.so:b.so::").collect();
        assert_eq!(found, [&b"./a.so"[..], b"b.so"]);
        assert_eq!(listed(b"").count(), 0);
    }
}
