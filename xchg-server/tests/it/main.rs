//! The server on real sockets, as a library and as a process. One binary: linking two dozen took
//! longer than running them.
#![allow(clippy::unwrap_used, reason = "whatever fails here is a failed test")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are peers")]

mod browser;
mod common;
mod web;

mod access;
mod access_log;
mod admin;
mod arrived;
mod big;
mod classic;
mod docs;
mod drain;
mod embed;
mod foreign;
mod greeting;
mod http_exchange;
mod http_lost;
mod http_receivers;
mod http_requests;
mod http_wait;
mod limits;
mod listen;
mod log;
mod lost;
mod manual;
mod many;
mod mistakes;
mod mixed;
mod native;
mod origins;
mod outside_browser;
mod outside_foreign;
mod outside_http;
mod outside_proxies;
mod outside_resume;
mod outside_shapes;
mod outside_strace;
mod outside_tls;
mod outside_transit;
mod refusals;
mod release;
mod sandbox;
mod service;
mod several_servers;
mod shapes;
mod signals;
mod strangers;
mod tls;
mod transit;
mod wait;
