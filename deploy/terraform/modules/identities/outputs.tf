output "nodes" {
  description = "The nodes' account: email, and member of policies."
  value = {
    email  = google_service_account.nodes.email
    member = google_service_account.nodes.member
    name   = google_service_account.nodes.name
  }
  # A node without its role cannot join.
  depends_on = [google_project_iam_member.nodes]
}

output "backup" {
  description = "The backups' account: email, name and member of policies."
  value = {
    email  = google_service_account.backup.email
    member = google_service_account.backup.member
    name   = google_service_account.backup.name
  }
}
