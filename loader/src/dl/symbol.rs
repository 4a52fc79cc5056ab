//! `dlsym` and `dlvsym`.

use crate::audit::{LateBinding, Way};
use crate::elf::hash::Name;
use crate::elf::version::Version;
use crate::error::Error;
use crate::group::Group;
use crate::loader::Loader;
use crate::lookup::{Definition, Request, UniqueTables, Value, find, find_in, is_dependency};
use crate::namespace::BASE;
use crate::object::Role;
use crate::observer::{Step, tell};
use crate::signals;
use crate::tls::{self, TlsIndex};
use crate::world::{Entry, World};

/// Pseudo-handles.
const RTLD_DEFAULT: usize = 0;
const RTLD_NEXT: usize = usize::MAX;

impl Loader {
    /// Finds a symbol. Takes no lock. A TLS symbol's address is the calling thread's.
    pub(crate) fn dlsym(
        &self,
        handle: usize,
        name: &[u8],
        version: Option<&[u8]>,
        caller: usize,
    ) -> Result<usize, Error> {
        let (address, told) = self.look_up(handle, name, version, caller)?;
        Ok(match told {
            Some(told) => {
                told.tell(self.loaded().notices(), address, Way::Dlsym)
                    .value
            }
            None => address,
        })
    }

    /// Finds a symbol, and what auditors are to be told of that.
    pub(crate) fn look_up(
        &self,
        handle: usize,
        name: &[u8],
        version: Option<&[u8]>,
        caller: usize,
    ) -> Result<(usize, Option<LateBinding>), Error> {
        let nothing = Error::Invalid("nothing is loaded");
        let world = self.world().read().ok_or(nothing)?;
        let record = tls::current(self.host().thread_pointer());
        let calling = self.loaded().entry_at(&world, caller);
        let request = Request {
            version: version.map(Version::exactly),
            newest: version.is_none(),
            referrer: calling.map(|entry| entry.object.id()),
            ..Request::new(
                self.host(),
                Name::new(name),
                record.map(|record| &*record.thread),
            )
        };
        let (found, place) = match handle {
            RTLD_DEFAULT => self.find_by_default(&world, calling, &request)?,
            RTLD_NEXT => find_next(&world, calling, &request)?,
            handle => find_by_handle(&world, handle, &request)?,
        };
        let Some(found) = found else {
            return Err(signals::undisturbed(self.host(), || {
                let error = Error::UndefinedSymbol {
                    object: place.object.shown().to_vec(),
                    symbol: name.to_vec(),
                    version: version.map(<[u8]>::to_vec),
                };
                tell(self.host(), &Step::NotFound(&error));
                error
            }));
        };
        request.tell_bound(&place.object, &found, false);
        if handle == RTLD_DEFAULT
            && let Some(calling) = calling
            && is_dependency(&calling.object, found.object)
        {
            calling.object.bind_to(found.object);
        }
        let value = self.value_of(&found)?;
        // If nobody knows whose code calls, it is the program's.
        let calling = calling.or(world.program().first().map(|entry| &**entry));
        let from = calling.map(|calling| &*calling.object);
        let told =
            from.and_then(|from| self.loaded().late_binding(&world, from, &found, Way::Dlsym));
        // A resolver need not come back.
        drop(world);
        Ok((self.address_of(value), told))
    }

    /// Returns the value of a definition, in the calling thread if it is thread-local.
    ///
    /// # Errors
    ///
    /// It is, and the thread is none of the program's: the loader has no thread-local storage for it.
    pub(crate) fn value_of(&self, found: &Definition<'_>) -> Result<Value, Error> {
        if found.is_tls() {
            if tls::current(self.host().thread_pointer()).is_none() {
                let text =
                    "a thread-local symbol has no address on a thread that is not the program's";
                return Err(Error::Invalid(text));
            }
            return Ok(Value::Address(self.threads().tls_address(&TlsIndex {
                module: found.object.tls_module(),
                offset: crate::elf::address(found.symbol.st_value),
            })));
        }
        Ok(found.value(self.host()))
    }

    /// Returns the address that a value stands for.
    pub(crate) fn address_of(&self, value: Value) -> usize {
        match value {
            Value::Address(address) => address,
            // SAFETY: the definition's object is relocated, or the asking thread could not see it.
            Value::Resolver(resolver) => unsafe { signals::call(self.host(), resolver, [0; 4]) },
        }
    }

    /// Searches what the calling code would search; before that, if it is not in a namespace of its own and the thread
    /// is bound to a session, the session.
    fn find_by_default<'w>(
        &self,
        world: &'w World,
        calling: Option<&'w Entry>,
        request: &Request<'_>,
    ) -> Result<(Option<Definition<'w>>, &'w Entry), Error> {
        let main = world.program().first().map(|entry| &**entry);
        let from = calling
            .or(main)
            .ok_or(Error::Invalid("nothing is loaded"))?;
        let unique = &UniqueTables::PUBLISHED;
        let acting = self.threads().acting_namespace(calling);
        if acting != from.object.namespace() {
            let bound = world.space(acting).ok_or(ENDED)?;
            let groups = core::iter::once(&bound.global);
            if let Some(found) = find(world, groups, unique, request) {
                return Ok((Some(found), from));
            }
        }
        Ok((find(world, world.scopes(from), unique, request), from))
    }
}

/// The session a thread is bound to has been closed.
pub(crate) const ENDED: Error = Error::Invalid("the session this thread is bound to has ended");

/// Searches what comes after the calling object in the first scope it is in.
fn find_next<'w>(
    world: &'w World,
    calling: Option<&'w Entry>,
    request: &Request<'_>,
) -> Result<(Option<Definition<'w>>, &'w Entry), Error> {
    let from = calling.ok_or(Error::Invalid(
        "RTLD_NEXT used in code not dynamically loaded",
    ))?;
    let after = |group: &'w Group| {
        let mut objects = group.iter();
        let own = objects.find(|object| object.id() == from.object.id());
        own.map(|_| objects)
    };
    let rest = world.scopes(from).find_map(after);
    let found = rest.and_then(|mut rest| rest.find_map(|object| find_in(object, request)));
    Ok((found, from))
}

/// Searches an object and what it needs; with the program's handle, the global scope.
fn find_by_handle<'w>(
    world: &'w World,
    handle: usize,
    request: &Request<'_>,
) -> Result<(Option<Definition<'w>>, &'w Entry), Error> {
    let from = world
        .by_handle(handle)
        .ok_or(Error::Invalid("invalid handle"))?;
    let group = if from.object.role() == Role::Main {
        world.space(BASE).map(|space| &space.global)
    } else {
        from.group.as_ref()
    };
    let unique = &UniqueTables::PUBLISHED;
    Ok((find(world, group.into_iter(), unique, request), from))
}
