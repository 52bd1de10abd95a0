// The differences between ngtcp2 0.12 (Debian 12) and 1.x (Debian 13), in one place.
#pragma once

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include <cstddef>
#include <cstdint>

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

inline int decode_version_cid(std::uint32_t& version, const std::uint8_t*& dcid, std::size_t& dcid_size,
                              const std::uint8_t*& scid, std::size_t& scid_size, const std::uint8_t* data,
                              std::size_t size, std::size_t short_dcid_size) {
  ngtcp2_version_cid cids{};
  const int result = ngtcp2_pkt_decode_version_cid(&cids, data, size, short_dcid_size);
  version = cids.version, dcid = cids.dcid, dcid_size = cids.dcidlen, scid = cids.scid, scid_size = cids.scidlen;
  return result;
}

#if NGTCP2_VERSION_NUM >= 0x010000
using NgCloseError = ngtcp2_ccerr;
inline void close_error_default(NgCloseError& error) { ngtcp2_ccerr_default(&error); }
inline void close_error_application(NgCloseError& error, std::uint64_t code, const std::uint8_t* text,
                                    std::size_t size) {
  ngtcp2_ccerr_set_application_error(&error, code, text, size);
}
inline void close_error_transport(NgCloseError& error, int library_error) {
  ngtcp2_ccerr_set_liberr(&error, library_error, nullptr, 0);
}
inline void close_error_tls_alert(NgCloseError& error, std::uint8_t alert) {
  ngtcp2_ccerr_set_tls_alert(&error, alert, nullptr, 0);
}
inline void peer_close_error(ngtcp2_conn* connection, NgCloseError& error) {
  error = *ngtcp2_conn_get_ccerr(connection);
}
inline bool is_application(const NgCloseError& error) { return error.type == NGTCP2_CCERR_TYPE_APPLICATION; }
inline bool in_closing_period(ngtcp2_conn* connection) { return ngtcp2_conn_in_closing_period(connection) != 0; }
inline bool in_draining_period(ngtcp2_conn* connection) { return ngtcp2_conn_in_draining_period(connection) != 0; }
inline void set_token(ngtcp2_settings& settings, const std::uint8_t* token, std::size_t size) {
  settings.token = token, settings.tokenlen = size;
}
inline const std::uint8_t* token_of(const ngtcp2_pkt_hd& header, std::size_t& size) {
  size = header.tokenlen;
  return header.token;
}
inline int shutdown_stream(ngtcp2_conn* connection, std::int64_t stream, std::uint64_t code) {
  return ngtcp2_conn_shutdown_stream(connection, 0, stream, code);
}
inline int shutdown_stream_read(ngtcp2_conn* connection, std::int64_t stream, std::uint64_t code) {
  return ngtcp2_conn_shutdown_stream_read(connection, 0, stream, code);
}
using NgConnectionInfo = ngtcp2_conn_info;
inline void connection_info(ngtcp2_conn* connection, NgConnectionInfo& info) {
  ngtcp2_conn_get_conn_info(connection, &info);
}
inline void set_original_dcid(ngtcp2_transport_params& params, const ngtcp2_cid& cid) {
  params.original_dcid = cid, params.original_dcid_present = 1;
}
template <class Told>
auto path_validation_callback(Told /*told*/) {
  return [](ngtcp2_conn* /*connection*/, std::uint32_t /*flags*/, const ngtcp2_path* path, const ngtcp2_path* /*old*/,
            ngtcp2_path_validation_result result, void* user) { return Told()(user, *path, result); };
}
#else
using NgCloseError = ngtcp2_connection_close_error;
inline void close_error_default(NgCloseError& error) { ngtcp2_connection_close_error_default(&error); }
inline void close_error_application(NgCloseError& error, std::uint64_t code, const std::uint8_t* text,
                                    std::size_t size) {
  ngtcp2_connection_close_error_set_application_error(&error, code, text, size);
}
inline void close_error_transport(NgCloseError& error, int library_error) {
  ngtcp2_connection_close_error_set_transport_error_liberr(&error, library_error, nullptr, 0);
}
inline void close_error_tls_alert(NgCloseError& error, std::uint8_t alert) {
  ngtcp2_connection_close_error_set_transport_error_tls_alert(&error, alert, nullptr, 0);
}
inline void peer_close_error(ngtcp2_conn* connection, NgCloseError& error) {
  ngtcp2_conn_get_connection_close_error(connection, &error);
}
inline bool is_application(const NgCloseError& error) {
  return error.type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION;
}
inline bool in_closing_period(ngtcp2_conn* connection) { return ngtcp2_conn_is_in_closing_period(connection) != 0; }
inline bool in_draining_period(ngtcp2_conn* connection) { return ngtcp2_conn_is_in_draining_period(connection) != 0; }
inline void set_token(ngtcp2_settings& settings, const std::uint8_t* token, std::size_t size) {
  settings.token = {const_cast<std::uint8_t*>(token), size};  // NOLINT: ngtcp2 only reads it
}
inline const std::uint8_t* token_of(const ngtcp2_pkt_hd& header, std::size_t& size) {
  size = header.token.len;
  return header.token.base;
}
inline int shutdown_stream(ngtcp2_conn* connection, std::int64_t stream, std::uint64_t code) {
  return ngtcp2_conn_shutdown_stream(connection, stream, code);
}
inline int shutdown_stream_read(ngtcp2_conn* connection, std::int64_t stream, std::uint64_t code) {
  return ngtcp2_conn_shutdown_stream_read(connection, stream, code);
}
using NgConnectionInfo = ngtcp2_conn_stat;
inline void connection_info(ngtcp2_conn* connection, NgConnectionInfo& info) {
  ngtcp2_conn_get_conn_stat(connection, &info);
}
inline void set_original_dcid(ngtcp2_transport_params& params, const ngtcp2_cid& cid) { params.original_dcid = cid; }
template <class Told>
auto path_validation_callback(Told /*told*/) {
  return [](ngtcp2_conn* /*connection*/, std::uint32_t /*flags*/, const ngtcp2_path* path,
            ngtcp2_path_validation_result result, void* user) { return Told()(user, *path, result); };
}
#endif

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
