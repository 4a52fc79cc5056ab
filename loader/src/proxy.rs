//! An object of the base namespace as another namespace has it (RTLD_SHARED, DF_GNU_1_UNIQUE; glibc's `l_proxy`).
//!
//! A proxy is a handle and nothing more: code, data, TLS and symbols are those of the object itself, which stays in the
//! base namespace for ever once it has a proxy. Closing a proxy unmaps nothing.

use alloc::sync::Arc;

use crate::link_map::{Fields, LinkMap, SHORT};
use crate::namespace::NamespaceId;
use crate::object::Object;

/// A proxy. Its address is its handle.
#[repr(C)]
pub(crate) struct Proxy {
    link_map: LinkMap<SHORT>,
    namespace: NamespaceId,
}

impl Proxy {
    /// Makes the proxy of an object for a namespace.
    pub(crate) fn new(object: &Object, namespace: NamespaceId) -> Arc<Self> {
        let proxy = Arc::new(Self {
            link_map: LinkMap::new(),
            namespace,
        });
        let fields = Fields {
            bias: object.bias(),
            name: object.link_map().name(),
            dynamic: object.dynamic_address(),
            namespace,
        };
        proxy.link_map.fill(&fields, object.handle());
        proxy
    }

    /// Returns the namespace the proxy is in.
    pub(crate) fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// Returns the structure the handle points at.
    pub(crate) fn link_map(&self) -> &LinkMap<SHORT> {
        &self.link_map
    }
}
