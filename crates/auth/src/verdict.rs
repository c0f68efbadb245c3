//! Verdicts: how the verifier of tokens answers the gate.

use tidewire_hub::broker::{Done, Now};

use crate::claims::Claims;
use crate::gate::{Unverified, Verify};
use crate::jwt::{TokenError, Verifier};

impl Verify for Verifier {
    fn verify(&self, token: &str, now: Now, done: Done<Result<Claims, Unverified>>) {
        let told = move |outcome: Result<Claims, TokenError>| {
            done(outcome.map_err(|error| {
                if error.is_ours() {
                    Unverified::Unavailable
                } else {
                    Unverified::Wrong(error.to_string().into())
                }
            }));
        };
        Verifier::verify(self, token, now, Box::new(told));
    }

    fn generation(&self) -> (u64, u64) {
        Verifier::generation(self).into()
    }
}
