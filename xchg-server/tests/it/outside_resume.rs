//! Real web clients that go on with a file where a cut left it, or fetch its parts side by side:
//! never a file out of two.

use crate::common::eventually;
use crate::outside_http::Setting;
use xchg_core::Side;

const FILE_BYTES: usize = 20_000_000;

/// A part of another file that a cut has left behind.
fn leave_a_part(setting: &Setting) -> Vec<u8> {
    let part = vec![b'x'; 1000];
    std::fs::write(setting.arrived(), &part).unwrap();
    part
}

/// A plain download gets the file of an upload that has gone on waiting.
fn expect_whole(setting: &Setting) {
    setting.start("curl -o OUT URL").succeed("a plain download");
    assert!(std::fs::read(setting.arrived()).unwrap() == setting.bytes);
}

#[test]
#[ignore = "needs curl and wget"]
fn who_goes_on_with_a_part_is_told_and_takes_nothing() {
    let setting = Setting::new(FILE_BYTES);
    for line in [
        "curl -C - -o OUT URL",
        "curl --fail -C - -o OUT URL",
        "curl --fail -C 1000 -o OUT URL",
        "curl --fail -r 5-9 -o OUT URL",
        "curl --fail -r -9 -o OUT URL",
        "curl --fail -r 0-99,500- -o OUT URL",
        "wget -c -O OUT URL",
        "wget --start-pos=1000 -O OUT URL",
    ] {
        let upload = setting.start("curl -T FILE URL");
        setting.server.await_waiting(1);
        let part = leave_a_part(&setting);
        setting.start(line).fail(line);
        let left = std::fs::read(setting.arrived()).unwrap();
        assert!(left == part || left.is_empty(), "{line} leaves {} bytes", left.len());
        setting.server.await_waiting(1);
        expect_whole(&setting);
        upload.succeed(line);
    }
}

#[test]
#[ignore = "needs curl and wget"]
fn who_tries_again_by_itself_does_not_go_on_with_another_file() {
    let mut setting = Setting::new(FILE_BYTES);
    // It comes back with `Range`, after a second.
    let download = setting.start("wget --tries=5 --waitretry=1 -O OUT URL");
    setting.server.await_waiting(1);
    let mut first = setting.start("curl --limit-rate 3M -T FILE URL");
    let handle = setting.server.next_exchange();
    eventually("a part has moved", || handle.moved_from(Side::Upload) > 1_000_000);
    first.kill();
    setting.server.next_outcome();
    setting.change_file(2);
    let second = setting.start("curl -T FILE URL");
    setting.server.await_waiting(1);
    download.fail("wget");
    assert!(std::fs::metadata(setting.arrived()).unwrap().len() < FILE_BYTES as u64);
    setting.server.await_waiting(1);
    expect_whole(&setting);
    second.succeed("the second upload");
}

#[test]
#[ignore = "needs aria2c and curl"]
fn who_fetches_parts_side_by_side_gets_the_whole_from_one() {
    let setting = Setting::new(FILE_BYTES);
    for split in ["-x4 -s4 -k1M", "-x16 -s16 -k1M", "-x1"] {
        for upload_first in [true, false] {
            let line = format!("aria2c {split} --allow-overwrite -o arrived URL");
            let upload = upload_first.then(|| setting.start("curl -T FILE URL"));
            if upload.is_some() {
                setting.server.await_waiting(1);
            }
            let download = setting.start(&line);
            let upload = upload.unwrap_or_else(|| {
                setting.server.await_waiting(1);
                setting.start("curl -T FILE URL")
            });
            download.succeed(&line);
            upload.succeed(&line);
            assert!(std::fs::read(setting.arrived()).unwrap() == setting.bytes, "{line}");
        }
    }
}

/// What aria2 asks for first when it comes back is the whole, in order to learn the length; the
/// parts that it then asks for are refused. The file that it was sent meanwhile is lost, and its
/// sender is told so.
#[test]
#[ignore = "needs aria2c and curl"]
fn who_comes_back_for_the_parts_that_are_missing_gets_no_file_out_of_two() {
    let mut setting = Setting::new(FILE_BYTES);
    let line = "aria2c -c -x4 -s4 -k1M -o arrived URL";
    let download = setting.start(line);
    setting.server.await_waiting(1);
    let mut first = setting.start("curl --limit-rate 3M -T FILE URL");
    let handle = setting.server.next_exchange();
    eventually("a part has moved", || handle.moved_from(Side::Upload) > 3_000_000);
    first.kill();
    download.fail("aria2c, cut");
    setting.change_file(2);
    let second = setting.start("curl -T FILE URL");
    setting.server.await_waiting(1);
    setting.start(line).fail("aria2c, again");
    second.fail("the second upload");
    let third = setting.start("curl -T FILE URL");
    setting.server.await_waiting(1);
    expect_whole(&setting);
    third.succeed("the third upload");
}
