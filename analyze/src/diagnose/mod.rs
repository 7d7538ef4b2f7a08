//! Asks every diagnostic of a bundle: one SQL file, one question.
//!
//! [`library`] has the built-in files, [`parse`] checks one and takes it apart,
//! [`run`] asks it of an open bundle and says for each node what came of it. [`cases`]
//! are small bundles that say what it must find, made by [`fixture`].
//! [`views`] makes the views that diagnostics and analysts read. Nothing here
//! knows what any diagnostic is about.

pub(crate) mod views;
pub(crate) mod kept;

pub(crate) mod library;
pub(crate) mod parse;
mod token;

pub(crate) mod run;

pub(crate) mod cases;
pub(crate) mod fixture;
mod notation;

pub(crate) mod command;
pub(crate) mod show;

#[cfg(test)]
mod cases_tests;
#[cfg(test)]
mod crafted_tests;
#[cfg(test)]
mod host_views_tests;
#[cfg(test)]
mod house;
#[cfg(test)]
mod node_views_tests;
#[cfg(test)]
mod outage_tests;
#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod status_views_tests;
#[cfg(test)]
mod views_tests;
