output "dns_records" {
  description = "Records to add: name, type and data of each."
  value = concat(
    [for name in [var.host_name, "*.${var.host_name}"] :
      { name = "${name}.", type = "A", data = google_compute_global_address.this.address }
    ],
    [for record in google_certificate_manager_dns_authorization.this.dns_resource_record :
      { name = record.name, type = record.type, data = record.data }
    ],
  )
}
