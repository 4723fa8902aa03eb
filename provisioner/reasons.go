package provisioner

// Reasons of events, as people see them in "kubectl describe". The first four are the established provisioner's.
const (
	// ReasonProvisioning: a driver is taking its time over a claim's volume.
	ReasonProvisioning = "Provisioning"
	// ReasonProvisioningSucceeded: the claim's volume is stored.
	ReasonProvisioningSucceeded = "ProvisioningSucceeded"
	// ReasonProvisioningFailed: an attempt failed, or the claim cannot be provisioned as it is.
	ReasonProvisioningFailed = "ProvisioningFailed"
	// ReasonVolumeFailedDelete: a released volume could not be deleted.
	ReasonVolumeFailedDelete = "VolumeFailedDelete"
	// ReasonVolumeStillAttached: a released volume is deleted as soon as the node named in the message lets go of it.
	ReasonVolumeStillAttached = "VolumeStillAttached"
	// ReasonHintIgnored: a claim's topology hint cannot be read.
	ReasonHintIgnored = "TopologyHintIgnored"
	// ReasonJournalUnwritable: volumes are created without a record.
	ReasonJournalUnwritable = "JournalUnwritable"
	// ReasonJournalUnreadable: an entry of the journal is kept aside.
	ReasonJournalUnreadable = "JournalUnreadable"
)
