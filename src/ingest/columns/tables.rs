//! The columns of every stream. Their order and types are a promise to whoever
//! reads the files (docs/RECORDS.md): a new column goes to the end of its
//! stream, before the details, and nothing else changes within a version.
//!
//! After a name come the other places where some release holds the same:
//! REST of 2020 (`addresses`), newer REST (`modelName`), plugin hits (`assetId`).

use super::{Column, Kind};
use crate::site::Stream;

pub(super) fn of(stream: Stream) -> &'static [Column] {
    match stream {
        Stream::Assets => ASSETS,
        Stream::Plugins => PLUGINS,
        Stream::Findings => FINDINGS,
        Stream::Events => EVENTS,
    }
}

/// The last column where details were asked for; events have none.
pub(super) fn details(stream: Stream) -> Option<Column> {
    match stream {
        Stream::Assets | Stream::Plugins => Some(DETAILS),
        Stream::Findings => Some(PLUGIN_DETAILS),
        Stream::Events => None,
    }
}

macro_rules! column {
    ($name:literal $kind:ident $(, $also:literal)*) => {
        Column { name: $name, kind: Kind::$kind, places: &[$name $(, $also)*] }
    };
}

macro_rules! columns {
    ($($name:literal: $kind:ident $(or $also:literal)*),+ $(,)?) => {
        &[$(column!($name $kind $(, $also)*)),+]
    };
}

const DETAILS: Column = column!("details" Json);
const PLUGIN_DETAILS: Column = column!("plugin.details" Json);

const ASSETS: &[Column] = columns! {
    "id": Text,
    "name": Text,
    "type": Text,
    "superType": Text,
    "category": Text,
    "criticality": Text,
    "purdueLevel": Text,
    "hidden": Bool,
    "vendor": Text,
    "family": Text,
    "model": Text or "modelName",
    "firmwareVersion": Text,
    "serial": Text,
    "os": Text,
    "location": Text,
    "description": Text,
    "slot": Int,
    "runStatus": Text,
    "extendedRunStatus": Text,
    "runStatusTime": Time,
    "firstSeen": Time,
    "lastSeen": Time,
    "lastHit": Time,
    "lastSnapshot": Time,
    "lastUpdate": Time,
    "lifecycleStatus": Text,
    "hardwareState": Text,
    "discontinuedDate": Time,
    "replacementProduct": Text,
    "risk.totalRisk": Float or "risk",
    "risk.unresolvedEvents": Int,
    "risk.pluginCount": Int,
    "backplane.id": Text or "backplane",
    "backplane.name": Text or "backplaneName",
    "backplane.size": Int,
    "ips": TextList or "addresses",
    "directIps": TextList or "directAddresses" or "directIp",
    "macs": TextList,
    "directMacs": TextList or "directMac",
    "subnets": TextList,
    "tags": TextList,
    "segments.id": TextList or "extendedSegments.id",
    "segments.name": TextList or "extendedSegments.name",
    "segments.type": TextList or "extendedSegments.type",
    "segments.key": TextList or "extendedSegments.key",
    "segments.systemName": TextList or "extendedSegments.systemName",
    "segments.vlan": TextList or "extendedSegments.vlan",
    "segments.description": TextList or "extendedSegments.description",
    "segments.assetType": TextList or "extendedSegments.assetType",
    "segments.subnet": TextList or "extendedSegments.subnet",
    "customField1": Text,
    "customField2": Text,
    "customField3": Text,
    "customField4": Text,
    "customField5": Text,
    "customField6": Text,
    "customField7": Text,
    "customField8": Text,
    "customField9": Text,
    "customField10": Text,
    "site": Text,
    "incidents": TextList or "classificationIncidents",
};

const PLUGINS: &[Column] = columns! {
    "id": Text,
    "name": Text,
    "source": Text,
    "family": Text,
    "severity": Text,
    "vprScore": Float,
    "comment": Text,
    "owner": Text,
    "totalAffectedAssets": Int,
};

const FINDINGS: &[Column] = columns! {
    "id": Text,
    "asset.id": Text or "assetId",
    "asset.name": Text,
    "asset.type": Text,
    "asset.criticality": Text,
    "asset.location": Text,
    "asset.purdueLevel": Text,
    "plugin.id": Text or "pluginId",
    "plugin.name": Text,
    "plugin.severity": Text or "severity",
    "plugin.family": Text,
    "plugin.source": Text,
    "plugin.vprScore": Float,
    "plugin.comment": Text,
    "plugin.owner": Text,
    "status": Text,
    "port": Int,
    "protocol": Text,
    "svcName": Text,
    "time": Time,
    "firstHit": Time,
    "lastHit": Time,
    "fixedAt": Time or "mitigatedAt",
    "mitigationDuration": Text,
    "output": Text,
};

const EVENTS: &[Column] = columns! {
    "id": Text,
    "logId": Int,
    "hitId": Text,
    "type": Text,
    "category": Text,
    "severity": Text,
    "time": Time,
    "resolved": Bool,
    "resolvedTs": Time,
    "resolvedUser": Text,
    "comment": Text,
    "completion": Text,
    "continuous": Bool,
    "srcIP": Text,
    "dstIP": Text,
    "srcMac": Text,
    "dstMac": Text,
    "protocol": Text,
    "protocolRaw": Text,
    "protocolNiceName": Text,
    "port": Int,
    "eventType.type": Text,
    "eventType.group": Text,
    "eventType.description": Text,
    "eventType.category": Text,
    "policy.id": Text,
    "policy.title": Text,
    "policy.level": Text,
    "policy.key": Text,
    "srcNames": TextList,
    "dstNames": TextList,
    "srcAssets.id": TextList,
    "srcAssets.name": TextList,
    "dstAssets.id": TextList,
    "dstAssets.name": TextList,
    "hasDetails": Bool,
    "payloadSize": Int,
    "srcInterface.id": Text,
    "srcInterface.mac": Text,
    "srcInterface.family": Text,
    "dstInterface.id": Text,
    "dstInterface.mac": Text,
    "dstInterface.family": Text,
};
