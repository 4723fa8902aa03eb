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

// Why a claim whose volume we stored was not bound by us but left to the controller-manager's binder: values of the label "reason".
const (
	// LeftBinderFaster: the binder did it within its head start.
	LeftBinderFaster = "BinderFaster"
	// LeftBinderBehind: the binder had not caught up with other volumes, and got to this one in the end.
	LeftBinderBehind = "BinderBehind"
	// LeftBoundElsewhere: the claim was bound to another volume meanwhile.
	LeftBoundElsewhere = "BoundElsewhere"
	// LeftClaimGone: the claim was deleted, is being deleted, or is another one of the same name.
	LeftClaimGone = "ClaimGone"
	// LeftRescheduled: the node for which the volume was made is not selected any more.
	LeftRescheduled = "Rescheduled"
	// LeftVolumeUnfit: the volume is on its way out, or is not what the binder would take for this claim.
	LeftVolumeUnfit = "VolumeUnfit"
	// LeftLost: the binder has called the claim Lost, because it had not heard of the volume.
	LeftLost = "Lost"
	// LeftForbidden: the permissions do not allow it.
	LeftForbidden = "Forbidden"
)
