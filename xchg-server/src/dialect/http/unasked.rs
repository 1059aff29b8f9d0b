//! Downloads that no person asked for: link previews of chat programs, crawlers, and browsers that
//! fetch ahead.
//!
//! Each of them would take the file away from the person whom the link was sent to. They say who
//! they are, in `User-Agent` and in the fields that mark a fetch as made beforehand. What does not
//! say so cannot be told from a person.

use httparse::Header;

use super::fields;

/// Programs that fetch what a link names when they see the link, where the name does not end as
/// [`KINDS`] say; compared in any case, as whole words. Browsers inside of apps (`Instagram 300.0`,
/// `Line/13.1`, `[Pinterest/iOS]`, `Signal-Desktop`) are persons' and stay out.
///
/// From the public list `monperrus/crawler-user-agents` and the fetchers' own documentation and
/// sources.
const FETCHERS: [&str; 38] = [
    // Chat: Signal says `WhatsApp/2`; LINE, KakaoTalk and iMessage say that they are Facebook's
    // `facebookexternalhit`.
    "whatsapp",
    "facebookexternalhit",
    "facebookexternalua",
    "facebookcatalog",
    "meta-externalagent",
    "meta-externalfetcher",
    "line-poker",
    "kakaotalk-scrap",
    "slack-imgproxy",
    "viber",
    "rocket.chat",
    "google-pagerenderer",
    "skype-url-preview",
    "snap url preview service",
    "link preview",
    "link-preview",
    "url preview",
    // Matrix: homeservers and media servers.
    "synapse",
    "dendrite",
    "conduwuit",
    "matrix-media-repo",
    // Social networks. Fediverse servers fetch each link that is posted, each of them.
    "cardyb",
    "mastodon",
    "pleroma",
    "akkoma",
    "misskey",
    "lemmy",
    "vkshare",
    "xing-contenttabreceiver",
    "embedly",
    "iframely",
    "flipboardproxy",
    // Mail and office programs, search.
    "ms-office",
    "microsoft office existence discovery",
    "googleimageproxy",
    "google-inspectiontool",
    "slurp",
    "ia_archiver",
];

/// How the names of robots end: `Slackbot`, `TelegramBot`, `Mattermost-Bot`, `Synapse (bot; ...)`,
/// `Baiduspider`, `Nextcloud Server Crawler`, `SkypeUriPreview`, `ZulipURLPreview`.
const KINDS: [&str; 4] = ["bot", "spider", "crawler", "preview"];

/// What ends so and is none: phones called `CUBOT X19`, and previews of browsers and systems, which
/// are words of their own.
const PERSONS: [&str; 2] = ["cubot", "preview"];

/// Whether the fields say that a browser fetches ahead of its user, who might never come, or draws
/// a small picture of the page.
pub(super) fn is_ahead(headers: &[Header<'_>]) -> bool {
    ["sec-purpose", "purpose", "x-purpose", "x-moz", "sec-fetch-purpose"]
        .into_iter()
        .flat_map(|name| fields::all(headers, name))
        .flat_map(|value| value.split(|byte| b",;".contains(byte)))
        .map(fields::trim)
        .any(|purpose| {
            [&b"prefetch"[..], b"prerender", b"preview"]
                .iter()
                .any(|known| purpose.eq_ignore_ascii_case(known))
        })
}

/// Whether the fields name a program that fetches links by itself.
pub(super) fn is_by_a_robot(headers: &[Header<'_>]) -> bool {
    fields::all(headers, "user-agent").any(is_robot)
}

fn is_robot(agent: &[u8]) -> bool {
    let agent = agent.to_ascii_lowercase();
    let is_of_a_kind = agent
        .split(|byte| !byte.is_ascii_alphanumeric())
        .filter(|word| PERSONS.iter().all(|person| person.as_bytes() != *word))
        .any(|word| KINDS.iter().any(|kind| word.ends_with(kind.as_bytes())));
    is_of_a_kind || FETCHERS.iter().any(|name| has_words(&agent, name.as_bytes()))
}

/// Whether `words` stand in `text`, and are no part of longer ones.
fn has_words(text: &[u8], words: &[u8]) -> bool {
    let is_part = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
    };
    memchr::memmem::find_iter(text, words)
        .any(|at| !is_part(text[..at].last()) && !is_part(text.get(at + words.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn robots_are_known_by_their_names() {
        for agent in [
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
            "Slackbot 1.0 (+https://api.slack.com/robots)",
            "Slack-ImgProxy (+https://api.slack.com/robots)",
            "WhatsApp/2.23.20.0 A",
            "WhatsApp/2",
            "TelegramBot (like TwitterBot)",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 Safari/601.2.4 \
             facebookexternalhit/1.1 Facebot Twitterbot/1.0",
            "facebookexternalhit/1.1;line-poker/1.0",
            "facebookexternalhit/1.1; kakaotalk-scrap/1.0; +https://devtalk.kakao.com/t/scrap/33984",
            "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
            "meta-externalfetcher/1.1",
            "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
            "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
            "Mozilla/5.0 MicrosoftPreview/2.0 +https://aka.ms/MicrosoftPreview",
            "Mozilla/5.0 (compatible; BingPreview/1.0b)",
            "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
            "Mattermost-Bot/1.1",
            "mattermost-bot",
            "Synapse (bot; +https://github.com/matrix-org/synapse)",
            "Synapse/1.30.0",
            "matrix-media-repo",
            "Mozilla/5.0 (compatible; ZulipURLPreview/8.0; +https://zulip.example)",
            "Nextcloud Server Crawler",
            "Limnoria UrlPreviewBot",
            "Twitterbot/1.0",
            "Bluesky Cardyb/1.1",
            "http.rb/5.1.1 (Mastodon/4.2.1; +https://mastodon.example/)",
            "Iframely/1.3.1 (+https://iframely.com/docs/about)",
            "Mozilla/5.0 (compatible; Embedly/0.2; +http://support.embed.ly/)",
            "Mozilla/5.0 (compatible; vkShare; +http://vk.com/dev/Share)",
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/538.1 (KHTML, like Gecko) Viber Safari/538.1",
            "Mozilla/5.0 Google-PageRenderer Google (+https://developers.google.com/+/web/snippet/)",
            "Mozilla/5.0 (compatible; Google-InspectionTool/1.0)",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "mozilla/5.0 (compatible; GOOGLEBOT)",
            "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
            "Mozilla/5.0 (compatible; redditbot/1.0; +http://www.reddit.com/feedback)",
            "Mozilla/5.0 (compatible; Pinterestbot/1.0; +http://www.pinterest.com/bot.html)",
            "Mozilla/5.0 (Macintosh) AppleWebKit/600.2.5 (KHTML, like Gecko) Version/8.0.2 Safari/600.2.5 (Applebot/0.1)",
            "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
            "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
            "Snap URL Preview Service; bot; snapchat; https://developers.snap.com/robots",
            "Mozilla/5.0 (compatible; Yahoo Link Preview; https://help.yahoo.com/kb/mail/SLN23615.html)",
            "Microsoft Office Existence Discovery",
        ] {
            assert!(is_robot(agent.as_bytes()), "{agent}");
        }
    }

    #[test]
    fn persons_and_their_programs_are_no_robots() {
        for agent in [
            "",
            "curl/8.5.0",
            "Wget/1.21.4",
            "aria2/1.36.0",
            "python-requests/2.32.3",
            "Go-http-client/1.1",
            "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
            "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.4648",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0 Safari/537.36",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/125.0 Safari/537.36",
            "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0",
            "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/99 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/99 Mobile",
            "Mozilla/5.0 (Linux; Android L Developer Preview; Nexus 5) AppleWebKit/537.36 Chrome/37 Mobile Safari/537.36",
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Signal-Desktop/7.0 Chrome/120 Electron/28 Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Instagram 300.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari Line/13.1.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile [Pinterest/iOS]",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0) AppleWebKit/605.1.15 [FBAN/FBIOS;FBAV/440.0;FBDV/iPhone14,5]",
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 discord/1.0.9 Chrome/120 Electron/28 Safari/537.36",
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Slack/4.36 Chrome/120 Electron/28 Safari/537.36",
            "Synapse-PT-HttpComponents-NIO",
            "Robotics-Toolkit/1.0",
            "Abbott/2",
        ] {
            assert!(!is_robot(agent.as_bytes()), "{agent}");
        }
    }

    #[test]
    fn the_names_are_in_lower_case_and_once() {
        let mut names = FETCHERS.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FETCHERS.len());
        assert!(names.iter().all(|name| *name == name.to_ascii_lowercase()));
    }
}
