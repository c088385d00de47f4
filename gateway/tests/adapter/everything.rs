//! Requests for everything that is registered.

use discovery::Registration;
use registrar::{QuotaRules, Quotas};
use serde_json::json;

use crate::support::{ForeignSession, Registrar};

/// The answer is charged to its reader until it is read, and is bounded for everybody.
#[tokio::test]
async fn an_answer_of_all_is_on_the_asker_s_account() {
    let registrar = Registrar::start().await;
    let client = registrar.callsign().await;
    let mut registered = Vec::new();
    let folder = "p".repeat(85);
    let mut register_until = async |count: usize| {
        while registered.len() < count {
            let mut registration = Registration::new("wide");
            for port in 0..64 {
                let at = format!("/unix/{folder}/{}-{port}", registered.len());
                registration = registration.endpoint(at.as_str()).unwrap();
            }
            registered.push(client.register(registration).await.unwrap());
        }
    };
    let mut asker = ForeignSession::greet(&registrar.unix, "asker", "u").await;
    register_until(8).await;
    let all = asker.returned("get_registry", json!({})).await;
    assert_eq!(all.as_object().unwrap().len(), 9);
    // The list takes several pages.
    register_until(400).await;
    let used = || registrar.registry.accounts().uses()[0].bytes.used;
    let before = used();
    let all = asker.returned("get_registry", json!({})).await;
    let all = all.as_object().unwrap();
    assert_eq!(all.len(), 401);
    let wide = all.iter().filter(|(name, at)| {
        name.starts_with("wide.") && at.as_array().is_some_and(|it| it.len() == 64)
    });
    assert_eq!(wide.count(), 400);
    asker.sync().await;
    assert_eq!(used(), before, "it is given back");

    let quotas = Quotas { bytes: 1 << 20, ..Quotas::UNLIMITED };
    let full = QuotaRules { trusted: quotas, others: quotas, ..QuotaRules::default() };
    registrar.registry.accounts().set(full, 64);
    assert_eq!(asker.refused("get_registry", json!({})).await, "RuntimeError");
    asker.sync().await;
    assert_eq!(used(), before, "it is given back");

    registrar.registry.accounts().set(QuotaRules::default(), 64);
    register_until(1400).await;
    assert_eq!(asker.refused("get_registry", json!({})).await, "RuntimeError");
    asker.sync().await;
}
