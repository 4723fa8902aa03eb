package datasource

// Reasons of verdicts, for events, admission messages and metrics.
const (
	// ReasonNoClaim: there is no claim to judge.
	ReasonNoClaim = "NoClaim"
	// ReasonInvalidDataSource: the claim's data source has no name, or its kind is not of the given group.
	ReasonInvalidDataSource = "InvalidDataSource"
	// ReasonVolumePopulator: a volume populator is expected to make the claim's volume.
	ReasonVolumePopulator = "VolumePopulator"

	// ReasonCrossNamespaceDisabled: the source's namespace is given, and the feature gate for that is off.
	ReasonCrossNamespaceDisabled = "CrossNamespaceDisabled"
	// ReasonGrantsNotServed: there is no ReferenceGrant API to ask.
	ReasonGrantsNotServed = "ReferenceGrantsNotServed"
	// ReasonNotGranted: no ReferenceGrant lets the claim refer to a source in that namespace.
	ReasonNotGranted = "ReferenceNotGranted"

	// ReasonSnapshotsNotSupported and ReasonClonesNotSupported: the driver lacks the capability.
	ReasonSnapshotsNotSupported = "SnapshotsNotSupported"
	ReasonClonesNotSupported    = "ClonesNotSupported"

	// ReasonSnapshotsNotServed: there is no VolumeSnapshot API.
	ReasonSnapshotsNotServed = "VolumeSnapshotsNotServed"
	// ReasonSnapshotNotFound: the snapshot does not exist.
	ReasonSnapshotNotFound = "SnapshotNotFound"
	// ReasonSnapshotDeleting: the snapshot is being deleted.
	ReasonSnapshotDeleting = "SnapshotDeleting"
	// ReasonSnapshotNotBound: the snapshot has no content yet.
	ReasonSnapshotNotBound = "SnapshotNotBound"
	// ReasonContentNotFound: the snapshot's content does not exist.
	ReasonContentNotFound = "SnapshotContentNotFound"
	// ReasonContentMismatch: the snapshot's content belongs to another snapshot.
	ReasonContentMismatch = "SnapshotContentMismatch"
	// ReasonSnapshotNotReady: the snapshot is not ready to be restored from.
	ReasonSnapshotNotReady = "SnapshotNotReady"
	// ReasonSnapshotHandleMissing: the driver's name of the snapshot is not known yet.
	ReasonSnapshotHandleMissing = "SnapshotHandleMissing"

	// ReasonSourceClaimNotFound: the claim to be cloned does not exist.
	ReasonSourceClaimNotFound = "SourceClaimNotFound"
	// ReasonSourceClaimNotBound: the claim to be cloned has no volume yet.
	ReasonSourceClaimNotBound = "SourceClaimNotBound"
	// ReasonSourceClaimDeleting: the claim to be cloned is being deleted.
	ReasonSourceClaimDeleting = "SourceClaimDeleting"
	// ReasonNoStorageClass: the claim, or the one to be cloned, names no storage class.
	ReasonNoStorageClass = "NoStorageClass"
	// ReasonSourceVolumeNotFound: the volume to be cloned does not exist.
	ReasonSourceVolumeNotFound = "SourceVolumeNotFound"
	// ReasonSourceVolumeNotCSI: the volume to be cloned is not one of a CSI driver.
	ReasonSourceVolumeNotCSI = "SourceVolumeNotCSI"
	// ReasonSourceVolumeMismatch: the volume to be cloned belongs to another claim.
	ReasonSourceVolumeMismatch = "SourceVolumeMismatch"
	// ReasonSourceVolumeNotBound: the volume to be cloned is not bound yet.
	ReasonSourceVolumeNotBound = "SourceVolumeNotBound"

	// ReasonOtherDriver: the source is another driver's.
	ReasonOtherDriver = "SourceOfOtherDriver"
	// ReasonRequestTooSmall: the claim asks for less than the source needs.
	ReasonRequestTooSmall = "RequestTooSmall"
	// ReasonVolumeModeDiffers: the claim's volume mode is not the source's.
	ReasonVolumeModeDiffers = "VolumeModeDiffers"
)
