//! Start of day: PVH start info, memory map, boot configuration, order of initialisation.
pub mod config;
