//! Programs run on Linux itself and in the guest.
