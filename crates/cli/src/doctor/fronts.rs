//! Who stands in front, as far as the headers of answers tell.

use hyper::HeaderMap;

pub(crate) use crate::proxy_config::Proxy;

impl Proxy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Proxy::Nginx => "nginx",
            Proxy::Haproxy => "HAProxy",
            Proxy::Caddy => "Caddy",
            Proxy::Envoy => "Envoy",
            Proxy::Traefik => "Traefik",
        }
    }
}

/// A service in front that is not configured by a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cloud {
    Cloudflare,
    AwsCdn,
    Fastly,
    Google,
    AwsBalancer,
    AzureFrontDoor,
    Heroku,
    Akamai,
}

impl Cloud {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Cloud::Cloudflare => "Cloudflare",
            Cloud::AwsCdn => "CloudFront",
            Cloud::Fastly => "Fastly",
            Cloud::Google => "Google Cloud Load Balancing",
            Cloud::AwsBalancer => "AWS Application Load Balancer",
            Cloud::AzureFrontDoor => "Azure Front Door",
            Cloud::Heroku => "Heroku's router",
            Cloud::Akamai => "Akamai",
        }
    }
}

/// What the answers' headers showed. HAProxy and Traefik show nothing of themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fronts {
    pub proxies: Vec<Proxy>,
    pub clouds: Vec<Cloud>,
    /// `Server` and `Via` as they came, at most a few.
    pub said: Vec<String>,
}

/// Fields whose presence gives somebody away.
const SIGNS: &[(&str, Cloud)] = &[
    ("cf-ray", Cloud::Cloudflare),
    ("x-amz-cf-id", Cloud::AwsCdn),
    ("x-served-by", Cloud::Fastly),
    ("x-azure-ref", Cloud::AzureFrontDoor),
    ("x-akamai-request-id", Cloud::Akamai),
];

/// What `Server` or `Via` says, in lower case, and of whom.
const CLOUD_NAMES: &[(&str, Cloud)] = &[
    ("cloudflare", Cloud::Cloudflare),
    ("cloudfront", Cloud::AwsCdn),
    ("varnish", Cloud::Fastly),
    ("google", Cloud::Google),
    ("awselb", Cloud::AwsBalancer),
    ("vegur", Cloud::Heroku),
    ("heroku", Cloud::Heroku),
    ("akamai", Cloud::Akamai),
];

const PROXY_NAMES: &[(&str, Proxy)] = &[
    ("nginx", Proxy::Nginx),
    ("openresty", Proxy::Nginx),
    ("haproxy", Proxy::Haproxy),
    ("caddy", Proxy::Caddy),
    ("envoy", Proxy::Envoy),
    ("traefik", Proxy::Traefik),
];

/// `Server` and `Via` values that are kept to be shown.
const SAID_MAX: usize = 4;

impl Fronts {
    /// Looks at one more answer.
    pub(crate) fn look(&mut self, headers: &HeaderMap) {
        for (field, cloud) in SIGNS {
            if headers.contains_key(*field) {
                add(&mut self.clouds, *cloud);
            }
        }
        if headers.contains_key("x-envoy-upstream-service-time") {
            add(&mut self.proxies, Proxy::Envoy);
        }
        for field in ["server", "via"] {
            for value in headers.get_all(field).iter().filter_map(|value| value.to_str().ok()) {
                let lower = value.to_ascii_lowercase();
                CLOUD_NAMES
                    .iter()
                    .filter(|row| lower.contains(row.0))
                    .for_each(|row| add(&mut self.clouds, row.1));
                PROXY_NAMES
                    .iter()
                    .filter(|row| lower.contains(row.0))
                    .for_each(|row| add(&mut self.proxies, row.1));
                let shown: String =
                    value.chars().filter(|char| char.is_ascii_graphic() || *char == ' ').take(40).collect();
                if self.said.len() < SAID_MAX {
                    add(&mut self.said, shown);
                }
            }
        }
    }

    /// In a few words, nothing where nobody shows.
    pub(crate) fn words(&self) -> Option<String> {
        let mut words = self.said.clone();
        for cloud in &self.clouds {
            if !words
                .iter()
                .any(|said| said.to_ascii_lowercase().contains(&cloud.name().to_ascii_lowercase()))
            {
                words.push(cloud.name().to_owned());
            }
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

fn add<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(fields: &[(&'static str, &'static str)]) -> Fronts {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let mut fronts = Fronts::default();
        fronts.look(&headers);
        fronts.look(&headers);
        fronts
    }

    #[test]
    fn proxies_and_clouds_are_known_by_what_they_say_of_themselves() {
        assert_eq!(seen(&[("server", "nginx/1.22.1")]).proxies, [Proxy::Nginx]);
        assert_eq!(seen(&[("via", "1.1 Caddy")]).proxies, [Proxy::Caddy]);
        assert_eq!(seen(&[("x-envoy-upstream-service-time", "1")]).proxies, [Proxy::Envoy]);
        let cloudflare = seen(&[("server", "cloudflare"), ("cf-ray", "8f")]);
        assert_eq!(
            (cloudflare.clouds, cloudflare.said),
            (vec![Cloud::Cloudflare], vec!["cloudflare".to_owned()])
        );
        assert_eq!(seen(&[("content-type", "text/plain")]), Fronts::default());
    }

    #[test]
    fn what_a_server_says_cannot_move_the_cursor() {
        assert_eq!(seen(&[("server", "a\tb")]).said, ["ab"]);
    }
}
