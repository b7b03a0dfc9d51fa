# Service accounts without keys: of the nodes, and of the workload that backs up.

resource "google_service_account" "nodes" {
  account_id   = "${var.name}-nodes"
  display_name = "Nodes of ${var.name}"
}

# Logs, metrics and the cluster's own needs; images are read by the registry's own policy.
resource "google_project_iam_member" "nodes" {
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes.member
}

resource "google_service_account" "backup" {
  account_id   = "${var.name}-backup"
  display_name = "Backups of ${var.name}"
}
