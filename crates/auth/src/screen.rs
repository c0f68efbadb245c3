//! The screen: host and origin, before anything else and for every entry alike (security rules S1 to S5, S10).

use tidewire_hub::admit::Transport;
use tidewire_hub::grant::{Action, Asked, Denied, Screened};

use crate::allow::Listed;
use crate::credentials::{Credential, presented};
use crate::denials;
use crate::origin::Origin;
use crate::rules::Rules;

/// Decides whether the page that asks may ask.
pub(crate) fn screen(rules: &Rules, asked: &Asked<'_>) -> Result<Screened, Denied> {
    if !rules.hosts.admit(asked.host) {
        return Err(denials::host(asked));
    }
    let listed = match asked.origin {
        Some(origin) => Some(rules.origins.find(origin).ok_or_else(|| denials::origin(asked))?),
        None => None,
    };
    match presented(asked, &rules.settings) {
        Ok(Some(Credential::Cookie(_))) if !is_trusted_with_cookies(rules, asked, listed) => {
            return Err(denials::cookie(asked));
        }
        // An image or a form of another site: it cannot read the answer, but it would spend the ticket.
        Ok(Some(Credential::Ticket(_))) if listed.is_none() && is_foreign(asked) => {
            return Err(denials::origin(asked));
        }
        // Credentials that contradict each other are refused by whoever decides on them.
        _ => {}
    }
    Ok(Screened { credentials: rules.settings.credentials && listed == Some(Listed::Named) })
}

/// Whether a cookie that came along may count: the browser added it whoever asked, so the page must be known.
fn is_trusted_with_cookies(rules: &Rules, asked: &Asked<'_>, listed: Option<Listed>) -> bool {
    match (listed, asked.fetch_site) {
        (Some(listed), _) => listed == Listed::Named,
        // Every browser says the origin of a WebSocket (RFC 6455 section 4.1).
        _ if asked.action == Action::Subscribe(Transport::Ws) => false,
        // An EventSource on a page of this very origin does not say its own.
        (None, Some(site)) => site == "same-origin",
        (None, None) => {
            let page = asked.referer.and_then(Origin::of_page);
            page.and_then(|origin| rules.origins.find(origin)) == Some(Listed::Named)
        }
    }
}

fn is_foreign(asked: &Asked<'_>) -> bool {
    matches!(asked.fetch_site, Some("cross-site" | "same-site"))
}
