# The public address, and Google's certificate for the host name and all names below it: each
# user's server has one. helm/examples/beside/gke.yaml refers to the address and the map by name.

resource "google_compute_global_address" "this" {
  name = var.name
}

resource "google_certificate_manager_dns_authorization" "this" {
  name   = var.name
  domain = var.host_name
}

resource "google_certificate_manager_certificate" "this" {
  name   = var.name
  labels = var.labels

  managed {
    domains            = [var.host_name, "*.${var.host_name}"]
    dns_authorizations = [google_certificate_manager_dns_authorization.this.id]
  }
}

resource "google_certificate_manager_certificate_map" "this" {
  name   = var.name
  labels = var.labels
}

resource "google_certificate_manager_certificate_map_entry" "this" {
  for_each = {
    (var.name)          = var.host_name
    "${var.name}-users" = "*.${var.host_name}"
  }

  name         = each.key
  map          = google_certificate_manager_certificate_map.this.name
  hostname     = each.value
  certificates = [google_certificate_manager_certificate.this.id]
}
