# terraform test: plans the modules of the network and of a machine, creates nothing.

provider "google" {
  project = "my-project"
}

run "the_network_is_reached_through_the_proxy_and_left_through_nat" {
  command = plan
  module {
    source = "./modules/network"
  }
  variables {
    name   = "caesarion"
    region = "europe-west1"
    ranges = { nodes = "10.0.0.0/20", pods = "10.4.0.0/14", services = "10.8.0.0/20", database = "10.64.0.0/20" }
  }

  assert {
    condition     = !google_compute_network.this.auto_create_subnetworks
    error_message = "The network has our subnetwork only."
  }
  assert {
    condition     = { for range in google_compute_subnetwork.nodes.secondary_ip_range : range.range_name => range.ip_cidr_range } == { pods = "10.4.0.0/14", services = "10.8.0.0/20" }
    error_message = "Pods and services have secondary ranges."
  }
  assert {
    condition     = google_compute_subnetwork.nodes.private_ip_google_access
    error_message = "Nodes pull images without NAT."
  }
  assert {
    condition     = google_compute_router_nat.this.source_subnetwork_ip_ranges_to_nat == "ALL_SUBNETWORKS_ALL_IP_RANGES"
    error_message = "Nodes and pods reach the internet."
  }
  assert {
    condition     = google_compute_firewall.ssh_through_iap.source_ranges == toset(["35.235.240.0/20"]) && google_compute_firewall.ssh_through_iap.target_tags == toset(["caesarion-ssh"])
    error_message = "SSH comes from Identity-Aware Proxy, to machines with the tag."
  }
  assert {
    condition     = google_compute_global_address.database.address == "10.64.0.0" && google_compute_global_address.database.prefix_length == 20
    error_message = "The database's range is the one given."
  }
}

run "a_machine_has_no_public_address" {
  command = plan
  module {
    source = "./modules/machine"
  }
  variables {
    name           = "caesarion-bastion"
    project        = "my-project"
    zone           = "europe-west1-b"
    machine_type   = "e2-small"
    disk_gb        = 10
    subnetwork     = "a-subnetwork"
    ssh_tag        = "caesarion-ssh"
    administrators = ["user:ada@example.org"]
  }

  assert {
    condition     = length(one(google_compute_instance.this.network_interface).access_config) == 0
    error_message = "The machine has no public address."
  }
  assert {
    condition     = one(google_compute_instance.this.shielded_instance_config).enable_secure_boot && google_compute_instance.this.metadata["enable-oslogin"] == "TRUE" && google_compute_instance.this.metadata["block-project-ssh-keys"] == "true"
    error_message = "The machine is shielded, and who logs in is decided by roles."
  }
  assert {
    condition     = toset(keys(google_project_iam_member.this)) == toset(["roles/logging.logWriter", "roles/monitoring.metricWriter"])
    error_message = "The machine may write logs and metrics."
  }
  assert {
    condition     = keys(google_iap_tunnel_instance_iam_member.this) == ["user:ada@example.org"]
    error_message = "The proxy lets the administrators through."
  }
}
