# Other people's readers on every file that the sinks wrote: Python's json, csv
# and gzip, and pyarrow for Parquet and zstd. One line on standard output each.
import csv, datetime, gzip, io, json, pathlib, sys

import pyarrow as pa
import pyarrow.parquet as pq

csv.field_size_limit(1 << 30)
folder = pathlib.Path(sys.argv[1])
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
TYPES = {"text": pa.string(), "boolean": pa.bool_(), "integer": pa.int64(), "float": pa.float64(),
         "time": pa.timestamp("us", "UTC"), "list of text": pa.list_(pa.string()), "JSON": pa.string()}


def unpacked(path, compression):
    data = path.read_bytes()
    if compression == "gzip":
        return gzip.decompress(data)
    if compression == "zstd":
        return pa.input_stream(io.BytesIO(data), compression="zstd").read()
    return data


def plain(value):
    return (value - EPOCH) // datetime.timedelta(microseconds=1) if isinstance(value, datetime.datetime) else value


def storage(kind):
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def rows(table):
    columns = []
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        columns.append([plain(value) for value in column.to_pylist()])
    return [list(row) for row in zip(*columns)]


for path in sorted(folder.glob("*.expected")):
    stream, expected = path.stem, json.loads(path.read_text())
    for compression in ("none", "gzip", "zstd"):
        for kind in ("ndjson", "csv", "parquet"):
            file = folder / f"{stream}.{kind}.{compression}"
            if kind == "ndjson":
                lines = unpacked(file, compression).decode().split("\n")
                assert lines.pop() == "", file
                assert [json.loads(line) for line in lines] == [json.loads(record) for record in expected["records"]], file
            elif kind == "csv":
                text = unpacked(file, compression).decode()
                found = list(csv.reader(io.StringIO(text, newline=""), strict=True))
                assert found == expected["text"], file
                names = [name for name, _ in expected["columns"]]
                for row in found[1:]:
                    for (name, of), cell in zip(expected["columns"], row):
                        formula = cell[:1] in tuple("=+-@\t\r\n＝＋－＠")
                        assert cell == "" or not formula or of in ("integer", "float"), (file, name, cell[:40])
            else:
                table = pq.read_table(file)
                types = [(field.name, storage(field.type)) for field in table.schema]
                assert types == [(name, TYPES[of]) for name, of in expected["columns"]], (file, types)
                assert rows(table) == expected["typed"], file
                codecs = {pq.ParquetFile(file).metadata.row_group(0).column(i).compression for i in range(9)}
                assert codecs == {{"none": "UNCOMPRESSED"}.get(compression, compression.upper())}, (file, codecs)
                assert pq.ParquetFile(file).metadata.metadata[b"stream"].decode() == stream, file
            print(file.name)
