# A machine without a public address, reached by SSH through Identity-Aware Proxy: the bastion, and
# the CI machine. deploy/ansible sets it up.

resource "google_service_account" "this" {
  account_id   = var.name
  display_name = "The machine ${var.name}"
}

resource "google_project_iam_member" "this" {
  for_each = toset(concat(["roles/logging.logWriter", "roles/monitoring.metricWriter"], var.roles))

  project = var.project
  role    = each.value
  member  = google_service_account.this.member
}

# Google's keys encrypt the disk; nothing on it is worth keeping.
#trivy:ignore:GCP-0033
resource "google_compute_instance" "this" {
  name         = var.name
  zone         = var.zone
  machine_type = var.machine_type
  tags         = [var.ssh_tag]

  allow_stopping_for_update = true

  boot_disk {
    initialize_params {
      image = "debian-cloud/debian-12"
      size  = var.disk_gb
      type  = "pd-balanced"
    }
  }

  network_interface {
    subnetwork = var.subnetwork
  }

  metadata = {
    block-project-ssh-keys = "true"
    enable-oslogin         = "TRUE"
    serial-port-enable     = "false"
  }

  service_account {
    email  = google_service_account.this.email
    scopes = ["cloud-platform"] # what it may do is in its roles
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  lifecycle {
    ignore_changes = [boot_disk[0].initialize_params[0].image] # Ansible upgrades; a new image replaces the disk
  }
}

# Who may log in, with root's rights, and through the proxy.
resource "google_iap_tunnel_instance_iam_member" "this" {
  for_each = toset(var.administrators)

  zone     = google_compute_instance.this.zone
  instance = google_compute_instance.this.name
  role     = "roles/iap.tunnelResourceAccessor"
  member   = each.value
}

resource "google_compute_instance_iam_member" "this" {
  for_each = toset(var.administrators)

  zone          = google_compute_instance.this.zone
  instance_name = google_compute_instance.this.name
  role          = "roles/compute.osAdminLogin"
  member        = each.value
}

resource "google_service_account_iam_member" "this" {
  for_each = toset(var.administrators)

  service_account_id = google_service_account.this.name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value
}
