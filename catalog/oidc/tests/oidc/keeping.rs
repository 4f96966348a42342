//! How long keys are kept, when they are fetched again, and how often an issuer is asked.

use futures::future::join_all;
use lakegate_oidc::{Issuers, JwtError};
use serde_json::json;
use tokio::time::{Duration, timeout};

use crate::issuer::{Answer, LocalIssuer};
use crate::signer::Signer;
use crate::stage::{Hand, accept, draft, now};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// One issuer, its keys, and a token by each.
struct Kept {
    issuer: LocalIssuer,
    hand: Hand,
    issuers: Issuers,
    old: Signer,
    new: Signer,
    by_old: String,
    by_new: String,
}

impl Kept {
    /// The issuer shows the old key.
    async fn set() -> Self {
        let (old, new, hand) = (Signer::p256("old"), Signer::p256("new"), Hand::default());
        let issuer = LocalIssuer::with(&[&old]).await;
        let (by_old, by_new) = (draft(&issuer, &old).signed(&old), draft(&issuer, &new).signed(&new));
        Self { issuers: accept(&issuer, &hand), issuer, hand, old, new, by_old, by_new }
    }

    /// The same, and its key was used.
    async fn used() -> Self {
        let kept = Self::set().await;
        assert!(kept.old_passes().await);
        kept
    }

    async fn verify(&self, token: &str) -> Result<(), JwtError> {
        self.issuers.verify(token, now()).await.map(drop)
    }

    async fn old_passes(&self) -> bool {
        self.verify(&self.by_old).await.is_ok()
    }

    fn unavailable(&self) -> Result<(), JwtError> {
        Err(JwtError::Unavailable { issuer: self.issuer.url.clone() })
    }
}

/// Waits until `condition` holds, ten seconds at the most.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), reached).await.expect(what);
}

#[tokio::test]
async fn keys_are_fetched_once_and_used_for_fifty_minutes() {
    let kept = Kept::used().await;
    for _ in 0..49 {
        kept.hand.forward(MINUTE);
        assert!(kept.old_passes().await);
    }
    assert_eq!((kept.issuer.described(), kept.issuer.asked()), (1, 1));
}

#[tokio::test]
async fn a_new_key_passes_and_the_old_one_stops_once_the_issuer_has_rotated() {
    let kept = Kept::used().await;
    assert_eq!(kept.verify(&kept.by_new).await, Err(JwtError::UnknownKey));
    kept.issuer.recovers(&[&kept.new]);
    kept.hand.forward(9);
    assert_eq!(kept.verify(&kept.by_new).await, Err(JwtError::UnknownKey), "asked again too soon");
    assert!(kept.old_passes().await, "the rotation is not known yet");
    kept.hand.forward(1);
    assert_eq!(kept.verify(&kept.by_new).await, Ok(()));
    assert_eq!(kept.verify(&kept.by_old).await, Err(JwtError::UnknownKey), "the old key has left the set");
    assert_eq!(kept.issuer.asked(), 2);
}

#[tokio::test]
async fn a_key_that_was_replaced_under_its_name_stops() {
    let kept = Kept::used().await;
    let same_name = Signer::p256("old");
    kept.issuer.recovers(&[&same_name]);
    kept.hand.forward(HOUR);
    assert_eq!(kept.verify(&kept.by_old).await, Err(JwtError::Signature));
    assert_eq!(kept.verify(&draft(&kept.issuer, &same_name).signed(&same_name)).await, Ok(()));
}

#[tokio::test]
async fn before_an_hour_keys_are_used_while_they_are_fetched_anew() {
    let kept = Kept::used().await;
    kept.issuer.recovers(&[&kept.new]);
    kept.issuer.close();
    kept.hand.forward(50 * MINUTE);
    assert!(kept.old_passes().await, "the issuer does not answer yet, and nobody waits for it");
    assert!(kept.old_passes().await);
    until("the issuer is asked", async || kept.issuer.asked() == 2).await;
    kept.issuer.open();
    until("the old key stops", async || !kept.old_passes().await).await;
    assert_eq!(kept.verify(&kept.by_new).await, Ok(()));
    assert_eq!(kept.issuer.asked(), 2);
}

#[tokio::test]
async fn after_an_hour_a_key_that_was_withdrawn_does_not_pass_once_more() {
    let kept = Kept::used().await;
    kept.issuer.shows(&[]);
    kept.hand.forward(HOUR);
    assert_eq!(kept.verify(&kept.by_old).await, Err(JwtError::UnknownKey));
    assert_eq!(kept.issuer.asked(), 2);
}

#[tokio::test]
async fn a_hundred_verifications_make_one_request() {
    let kept = Kept::set().await;
    kept.issuer.close();
    let all = join_all((0..100).map(|_| kept.verify(&kept.by_old)));
    let open = async {
        until("the issuer is asked", async || kept.issuer.asked() == 1).await;
        kept.issuer.open();
    };
    let (all, ()) = tokio::join!(all, open);
    assert!(all.iter().all(Result::is_ok));
    assert_eq!((kept.issuer.described(), kept.issuer.asked()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_threads_worth_of_verifications_make_one_request() {
    let kept = Kept::set().await;
    let one = || {
        let (issuers, token) = (kept.issuers.clone(), kept.by_old.clone());
        tokio::spawn(async move { issuers.verify(&token, now()).await })
    };
    let all = join_all((0..100).map(|_| one())).await;
    assert!(all.into_iter().all(|one| one.is_ok_and(|verified| verified.is_ok())));
    assert_eq!((kept.issuer.described(), kept.issuer.asked()), (1, 1));
}

#[tokio::test]
async fn names_that_somebody_makes_up_ask_the_issuer_once_in_ten_seconds() {
    let kept = Kept::used().await;
    for round in 1..=3 {
        kept.hand.forward(10);
        let made_up = |n: usize| draft(&kept.issuer, &kept.new).header(&json!({"kid": format!("{round}-{n}")}));
        let tokens: Vec<_> = (0..50).map(|n| made_up(n).signed(&kept.new)).collect();
        let at_once = join_all(tokens.iter().map(|token| kept.verify(token))).await;
        assert!(at_once.iter().all(|refused| *refused == Err(JwtError::UnknownKey)), "{at_once:?}");
        for token in &tokens {
            assert_eq!(kept.verify(token).await, Err(JwtError::UnknownKey));
        }
        assert_eq!(kept.issuer.asked(), 1 + round);
        assert!(kept.old_passes().await);
    }
}

#[tokio::test]
async fn a_token_that_is_refused_anyway_makes_no_request() {
    let kept = Kept::set().await;
    let draft = || draft(&kept.issuer, &kept.old);
    for change in [json!({"exp": 1}), json!({"aud": "another"}), json!({"sub": ""})] {
        assert!(kept.verify(&draft().claims(&change).signed(&kept.old)).await.is_err());
    }
    assert!(kept.verify(&draft().header(&json!({"alg": "none"})).signed(&kept.old)).await.is_err());
    assert_eq!(kept.issuer.contacted(), 0);
}

#[tokio::test]
async fn keys_of_an_issuer_that_is_away_are_used_for_a_day() {
    let kept = Kept::used().await;
    kept.issuer.answers(Answer::Status(500));
    kept.hand.forward(HOUR);
    assert!(kept.old_passes().await);
    assert_eq!(kept.issuer.asked(), 2, "it was asked first");
    assert_eq!(kept.verify(&kept.by_new).await, kept.unavailable(), "a key that may be new is not refused");
    assert_eq!(kept.issuer.asked(), 2);
    for _ in 1..23 {
        kept.hand.forward(HOUR);
        assert!(kept.old_passes().await);
    }
    kept.hand.forward(HOUR - 1);
    assert!(kept.old_passes().await);
    kept.hand.forward(1);
    assert_eq!(kept.verify(&kept.by_old).await, kept.unavailable(), "a day is over");
    kept.issuer.recovers(&[&kept.old]);
    kept.hand.forward(MINUTE);
    assert!(kept.old_passes().await, "it is back");
}

#[tokio::test]
async fn nobody_waits_for_an_issuer_that_failed_a_moment_ago() {
    let kept = Kept::used().await;
    kept.issuer.answers(Answer::Status(500));
    kept.hand.forward(HOUR);
    assert!(kept.old_passes().await);
    kept.issuer.close();
    kept.hand.forward(MINUTE);
    assert!(kept.old_passes().await, "the issuer is silent, and nobody waits");
    until("the issuer is asked", async || kept.issuer.asked() == 3).await;
    kept.issuer.recovers(&[&kept.new]);
    kept.issuer.open();
    until("its answer counts", async || !kept.old_passes().await).await;
}

#[tokio::test]
async fn an_issuer_that_fails_is_asked_less_and_less_often() {
    let kept = Kept::set().await;
    kept.issuer.answers(Answer::Status(503));
    let mut seconds = Vec::new();
    for second in 0..320_u64 {
        let before = kept.issuer.asked();
        assert_eq!(kept.verify(&kept.by_old).await, kept.unavailable());
        assert_eq!(kept.verify(&kept.by_new).await, kept.unavailable());
        if kept.issuer.asked() > before {
            seconds.push(second);
        }
        kept.hand.forward(1);
    }
    assert_eq!(seconds, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303]);
    assert_eq!(kept.issuer.asked(), seconds.len());
    kept.issuer.recovers(&[&kept.old]);
    kept.hand.forward(MINUTE);
    assert!(kept.old_passes().await);
}

#[tokio::test]
async fn keys_of_an_issuer_that_is_gone_are_used_and_no_others() {
    let kept = Kept::used().await;
    let Kept { issuer, hand, issuers, by_old, by_new, .. } = kept;
    let unavailable = JwtError::Unavailable { issuer: issuer.url.clone() };
    drop(issuer);
    hand.forward(2 * HOUR);
    assert!(issuers.verify(&by_old, now()).await.is_ok());
    hand.forward(10);
    let error = issuers.verify(&by_new, now()).await.expect_err("its key is not known");
    assert!(error.is_unavailable());
    assert_eq!(error, unavailable);
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_end_the_fetch_of_the_others() {
    let kept = Kept::set().await;
    kept.issuer.close();
    let keys_came = tokio::select! {
        _ = kept.verify(&kept.by_old) => true,
        () = until("the issuer is asked", async || kept.issuer.asked() == 1) => false,
    };
    assert!(!keys_came);
    kept.issuer.open();
    assert!(kept.old_passes().await);
    assert_eq!(kept.issuer.asked(), 1);
}

#[tokio::test]
async fn issuers_have_their_keys_apart() {
    let (one, two) = (Kept::set().await, Kept::set().await);
    let settings = [&one, &two].map(|kept| crate::stage::settings(&kept.issuer));
    let both = Issuers::with_clock(settings.into(), &one.hand.clock()).expect("settings");
    two.issuer.answers(Answer::Status(500));
    assert!(both.verify(&one.by_old, now()).await.is_ok());
    assert!(both.verify(&two.by_old, now()).await.is_err_and(|error| error.is_unavailable()));
    let forged = draft(&one.issuer, &two.old).signed(&two.old);
    assert_eq!(both.verify(&forged, now()).await, Err(JwtError::Signature));
}
