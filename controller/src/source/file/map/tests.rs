use super::*;

fn key(service: &str, namespace: &str) -> ServiceKey {
    ServiceKey { namespace: namespace.into(), service: service.into() }
}

#[test]
fn every_fault_has_its_place_and_what_to_write() {
    let faults = Mesh::read("mode: strct\nservices:\n  cart:\n    timout: 5s\n", "mesh.yaml").unwrap_err();
    let found: Vec<_> = problems(&faults, "mesh.yaml").into_iter().collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((found[0].kind, found[0].subject.as_str()), ("mesh-file", "mesh.yaml:1:7"));
    assert!(found[0].what.starts_with("mode: ") && found[0].what.contains("strict"), "{found:?}");
    assert_eq!(found[1].subject, "mesh.yaml:4:5");
    assert!(found[1].what.contains("services.cart") && found[1].what.contains("timeout"), "{found:?}");
}

#[test]
fn a_flood_of_faults_is_cut() {
    let text: String = (0..80).map(|number| format!("key{number}: 1\n")).collect();
    let found = problems(&Mesh::read(&text, "mesh.yaml").unwrap_err(), "mesh.yaml");
    assert_eq!(found.len(), SHOWN + 1);
    assert!(found.iter().any(|problem| problem.what.starts_with("30 more faults")), "{found:?}");
}

#[test]
fn names_that_nobody_has_are_told() {
    let text = "services:\n  cart: {}\n  carrt: {}\n  web.shop: {}\n  web.shp: {}\n  payment: {}\n";
    let mesh = Mesh::read(text, "mesh.yaml").unwrap();
    let known = [key("cart", "shop"), key("web", "shop")];
    let found: Vec<_> =
        strangers(&mesh, known.iter(), "mesh.yaml").into_iter().map(|problem| problem.what).collect();
    assert_eq!(
        found,
        [
            "services.carrt: no workload of service carrt; did you mean cart?",
            "services.payment: no workload of service payment; start it, or correct the name",
            "services.web.shp: no workload of service web.shp; did you mean web.shop?",
        ]
    );
}
