output "name" {
  description = "The instance's name."
  value       = google_sql_database_instance.this.name
}

output "address" {
  description = "The instance's private address."
  value       = google_sql_database_instance.this.private_ip_address
}

output "urls" {
  description = "Address of each database, for the user caesarion, without the password."
  value = {
    hub     = "postgresql+psycopg2://caesarion@${google_sql_database_instance.this.private_ip_address}:5432/${google_sql_database.this["hub"].name}?sslmode=require"
    gateway = "postgresql://caesarion@${google_sql_database_instance.this.private_ip_address}:5432/${google_sql_database.this["gateway"].name}?sslmode=require"
  }
}

output "member" {
  description = "The instance's own service account, which writes exports, as a member of policies."
  value       = "serviceAccount:${google_sql_database_instance.this.service_account_email_address}"
}
