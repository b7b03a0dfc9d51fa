output "name" {
  description = "The machine's name."
  value       = google_compute_instance.this.name
}

output "zone" {
  description = "The machine's zone."
  value       = google_compute_instance.this.zone
}

output "member" {
  description = "The machine's service account as a member of policies."
  value       = google_service_account.this.member
}
